// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include "tests/unit/engine/relay/frames_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

/* From the guest to the TAP. */
class TransmitterTest : public FramesTest {};

TEST_P(TransmitterTest, AFrameOfTheGuestReachesTheTap) {
    const Bytes bytes = frame(100);
    const uint16_t id =
        driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_EQ(at_peer(), bytes);
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().packets, 1U);
    EXPECT_EQ(stats().bytes, 100U);
}

TEST_P(TransmitterTest, TheHeaderMayBeCutAnywhere) {
    const Bytes bytes = frame(100);
    const uint64_t addr = in_guest(bytes);
    for (const uint32_t cut : {1U, 11U, 12U, 13U, 100U}) {
        driver->add(
            {{addr, cut, false}, {addr + cut, static_cast<uint32_t>(bytes.size()) - cut, false}});
        transmitter->burst(scratch);
        EXPECT_EQ(at_peer(), bytes) << cut;
        driver->take_used();
    }
}

TEST_P(TransmitterTest, ASegmentationHeaderPassesUnchanged) {
    Bytes bytes = frame(60'000);
    const virtio_net_hdr header{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                .hdr_len = 66,
                                .gso_size = 1448,
                                .csum_start = 34,
                                .csum_offset = 16};
    std::memcpy(bytes.data(), &header, sizeof header);
    const uint64_t addr = in_guest(bytes);
    driver->add({{addr, 12, false}, {addr + 12, 30'000, false}, {addr + 30'012, 30'000, false}},
                true);
    transmitter->burst(scratch);
    EXPECT_EQ(at_peer(), bytes);
}

TEST_P(TransmitterTest, AHeaderThatWasNotNegotiatedIsCleared) {
    open(64, GetParam() | bit(VIRTIO_F_VERSION_1));
    Bytes bytes = frame(100);
    std::fill_n(bytes.begin(), 10, uint8_t{0xff});
    driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    transmitter->burst(scratch);
    const Bytes sent = at_peer();
    ASSERT_EQ(sent.size(), bytes.size());
    EXPECT_EQ(Bytes(sent.begin(), sent.begin() + 10), Bytes(10));
    EXPECT_EQ(Bytes(sent.begin() + 12, sent.end()), Bytes(bytes.begin() + 12, bytes.end()));
}

TEST_P(TransmitterTest, ALegacyHeaderIsTenBytes) {
    open(64, GetParam() & ~bit(VIRTIO_F_VERSION_1));
    const Bytes bytes = frame(100, 10);
    driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    transmitter->burst(scratch);
    EXPECT_EQ(at_peer(), bytes);
    EXPECT_EQ(stats().bytes, 100U);
}

TEST_P(TransmitterTest, AFrameTooShortForEthernetIsDroppedAndGivenBack) {
    const uint16_t id = driver->add({{in_guest(frame(13)), 25, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_bad_descriptor, 1U);
    EXPECT_FALSE(stats().broken);
}

TEST_P(TransmitterTest, AFrameBeyond64KiBIsDroppedAndGivenBack) {
    const uint32_t size = 12 + max_frame_size + 1;
    const uint16_t id = driver->add({{ram.allocate(size), size, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_too_big, 1U);
}

TEST_P(TransmitterTest, AFrameInTooManyPiecesIsDroppedAndGivenBack) {
    const uint64_t addr = ram.allocate(1024);
    const uint16_t id =
        driver->add(std::vector<Buffer>(Segments::capacity + 1, Buffer{addr, 1, false}), true);
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_too_big, 1U);
}

TEST_P(TransmitterTest, AFrameThatTheTapRefusesIsDroppedAndGivenBack) {
    peer.reset();
    signal(SIGPIPE, SIG_IGN);
    const uint16_t id = driver->add({{in_guest(frame(100)), 112, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_tap_error, 1U);
    EXPECT_EQ(stats().packets, 0U);
}

TEST_P(TransmitterTest, ATransmitChainToWriteToBreaksTheRing) {
    driver->add({{ram.allocate(200), 200, true}});
    transmitter->burst(scratch);
    EXPECT_TRUE(stats().broken);
    EXPECT_EQ(stats().drops_bad_descriptor, 1U);
    EXPECT_FALSE(driver->take_used());
}

TEST_P(TransmitterTest, ABurstEndsWithOneInterruptForAll) {
    driver->interrupts(true);
    for (int n = 0; n < 20; n++) {
        driver->add({{in_guest(frame(100)), 112, false}});
    }
    EXPECT_EQ(transmitter->burst(scratch), 20U);
    eventfd_t count = 0;
    EXPECT_EQ(eventfd_read(call.get(), &count), 0);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(stats().interrupts, 1U);
}

TEST_P(TransmitterTest, ABurstLeavesTheRestForTheNextTurn) {
    open(256, GetParam() | all_features);
    const uint64_t addr = in_guest(frame(100));
    for (unsigned n = 0; n < burst_frames + 10; n++) {
        driver->add({{addr, 112, false}});
    }
    EXPECT_EQ(transmitter->burst(scratch), burst_frames);
    EXPECT_EQ(transmitter->burst(scratch), 10U);
}

INSTANTIATE_TEST_SUITE_P(Formats, TransmitterTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
