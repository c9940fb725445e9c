// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/features.hpp"

#include <gtest/gtest.h>
#include <linux/if_tun.h>

#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay {
namespace {

using test::bit;

constexpr uint64_t all_offloads = bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) |
                                  bit(VIRTIO_NET_F_HOST_TSO6) | bit(VIRTIO_NET_F_HOST_ECN) |
                                  bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO4) |
                                  bit(VIRTIO_NET_F_GUEST_TSO6) | bit(VIRTIO_NET_F_GUEST_ECN);

TEST(Features, OffloadsAreOfferedInBothDirectionsOrInNone) {
    EXPECT_EQ(offered_features(false, true) & all_offloads, all_offloads);
    EXPECT_EQ(offered_features(false, false) & all_offloads, 0U);
    EXPECT_EQ(offered_features(false, true) & ~all_offloads, offered_features(false, false));
}

TEST(Features, PackedRingsAreOfferedWhenAskedFor) {
    EXPECT_EQ(offered_features(true, true) ^ offered_features(false, true),
              bit(VIRTIO_F_RING_PACKED));
}

TEST(Features, MultiQueueIsOfferedWithTheControlQueueItDependsOn) {
    EXPECT_TRUE(has(offered_features(false, false), VIRTIO_NET_F_MQ));
    EXPECT_TRUE(has(offered_features(false, false), VIRTIO_NET_F_CTRL_VQ));
}

TEST(NetHeader, IsShortForLegacyDriversWithoutMergeableBuffersOnly) {
    EXPECT_EQ(net_header_size(0), 10U);
    EXPECT_EQ(net_header_size(bit(VIRTIO_NET_F_MRG_RXBUF)), 12U);
    EXPECT_EQ(net_header_size(bit(VIRTIO_F_VERSION_1)), 12U);
}

TEST(TapOffloads, AreThoseThatTheGuestTakes) {
    EXPECT_EQ(tap_offloads(all_offloads),
              unsigned{TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN});
    EXPECT_EQ(tap_offloads(bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO6)),
              unsigned{TUN_F_CSUM | TUN_F_TSO6});
}

TEST(TapOffloads, AreNoneWithoutChecksums) {
    EXPECT_EQ(tap_offloads(bit(VIRTIO_NET_F_GUEST_TSO4)), 0U);
    EXPECT_EQ(tap_offloads(bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4)), 0U);
}

TEST(TapOffloads, DoNotIncludeEcnWithoutSegmentation) {
    EXPECT_EQ(tap_offloads(bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_ECN)),
              unsigned{TUN_F_CSUM});
}

constexpr virtio_net_hdr tso4{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                              .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                              .hdr_len = 66,
                              .gso_size = 1448,
                              .csum_start = 34,
                              .csum_offset = 16};

TEST(Sanitise, PassesWhatWasNegotiated) {
    virtio_net_hdr header = tso4;
    EXPECT_TRUE(sanitise(header, all_offloads));
    EXPECT_EQ(header.gso_size, 1448);
    EXPECT_EQ(header.csum_start, 34);
    EXPECT_EQ(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

TEST(Sanitise, ClearsTheHeaderWithoutChecksumOffload) {
    virtio_net_hdr header = tso4;
    EXPECT_TRUE(sanitise(header, bit(VIRTIO_F_VERSION_1)));
    EXPECT_EQ(header.flags, 0);
    EXPECT_EQ(header.gso_type, 0);
    EXPECT_EQ(header.gso_size, 0);
    EXPECT_EQ(header.csum_start, 0);
    EXPECT_EQ(header.hdr_len, 0);
}

TEST(Sanitise, RefusesSegmentationThatWasNotNegotiated) {
    virtio_net_hdr header = tso4;
    EXPECT_FALSE(sanitise(header, bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO6)));
    header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    EXPECT_FALSE(sanitise(header, bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4)));
    header.gso_type = VIRTIO_NET_HDR_GSO_UDP;
    EXPECT_FALSE(sanitise(header, all_offloads));
    header.gso_type = 0x7f;
    EXPECT_FALSE(sanitise(header, all_offloads));
}

TEST(Sanitise, DropsFlagsThatAreForTheOtherDirection) {
    virtio_net_hdr header{};
    header.flags = VIRTIO_NET_HDR_F_DATA_VALID | VIRTIO_NET_HDR_F_RSC_INFO;
    header.csum_start = 500;
    EXPECT_TRUE(sanitise(header, all_offloads));
    EXPECT_EQ(header.flags, 0);
    EXPECT_EQ(header.csum_start, 0);
}

}  // namespace
}  // namespace vdpa::engine::relay
