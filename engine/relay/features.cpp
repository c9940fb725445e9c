// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/features.hpp"

#include <linux/if_tun.h>

#include <initializer_list>

namespace vdpa::engine::relay {

namespace {

constexpr uint64_t bits(std::initializer_list<unsigned> numbers) {
    uint64_t features = 0;
    for (const unsigned bit : numbers) {
        features |= uint64_t{1} << bit;
    }
    return features;
}

constexpr uint64_t offload_features =
    bits({VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
          VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
          VIRTIO_NET_F_GUEST_ECN});

/* Not among them, on purpose:
 * - STATUS, MAC, CTRL_MAC_ADDR: the configuration space is the front-end's. QEMU adds them by
 *   itself; a front-end without a configuration space (User-mode Linux) would read a link that is
 * down.
 * - CTRL_RX, CTRL_VLAN: a TAP delivers what the bridge sends to it; there is no filter to
 *   control. Drivers that find no control take everything, which is what happens.
 * - CTRL_GUEST_OFFLOADS: the offloads of the TAP are set when the device starts.
 * - HOST_UFO, GUEST_UFO: Linux removed UFO in 4.14.
 * - IOMMU_PLATFORM: no device IOTLB; rings and buffers are addressed by guest-physical addresses.
 * - IN_ORDER: we are in order, but drivers gain nothing on rings that are not polled. */
constexpr uint64_t base_features = bits({
    VIRTIO_F_VERSION_1,
    VIRTIO_F_ANY_LAYOUT,  // legacy drivers may put header and frame in one descriptor
    VIRTIO_RING_F_INDIRECT_DESC,
    VIRTIO_RING_F_EVENT_IDX,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_CTRL_VQ,  // QEMU needs the bit to offer multi-queue, and answers it itself
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MTU,             // for QEMU's host_mtu
    VIRTIO_NET_F_GUEST_ANNOUNCE,  // QEMU has the guest announce itself after a live migration
    vhost_f_log_all,              // live migration: pages that we write are logged
    vhost_user_f_protocol_features,
});

}  // namespace

uint64_t offered_features(bool packed, bool offloads) {
    return base_features | (packed ? bits({VIRTIO_F_RING_PACKED}) : 0) |
           (offloads ? offload_features : 0);
}

size_t net_header_size(uint64_t features) {
    const bool long_header =
        has(features, VIRTIO_F_VERSION_1) || has(features, VIRTIO_NET_F_MRG_RXBUF);
    return long_header ? sizeof(virtio_net_hdr_v1) : sizeof(virtio_net_hdr);
}

unsigned tap_offloads(uint64_t features) {
    // The kernel refuses TSO without checksums, as virtio does (5.1.3.1).
    if (!has(features, VIRTIO_NET_F_GUEST_CSUM)) {
        return 0;
    }
    unsigned offloads = TUN_F_CSUM;
    offloads |= has(features, VIRTIO_NET_F_GUEST_TSO4) ? TUN_F_TSO4 : 0U;
    offloads |= has(features, VIRTIO_NET_F_GUEST_TSO6) ? TUN_F_TSO6 : 0U;
    if ((offloads & (TUN_F_TSO4 | TUN_F_TSO6)) != 0 && has(features, VIRTIO_NET_F_GUEST_ECN)) {
        offloads |= TUN_F_TSO_ECN;
    }
    return offloads;
}

bool sanitise(virtio_net_hdr &header, uint64_t features) {
    if (!has(features, VIRTIO_NET_F_CSUM)) {
        header = {};
        return true;
    }
    // DATA_VALID and what may come later are for the other direction.
    header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (header.flags == 0) {
        header.csum_start = 0;
        header.csum_offset = 0;
    }
    const auto type = static_cast<uint8_t>(header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN);
    if (header.gso_type != type && !has(features, VIRTIO_NET_F_HOST_ECN)) {
        return false;
    }
    switch (type) {
        case VIRTIO_NET_HDR_GSO_NONE:
            header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
            header.gso_size = 0;
            return true;
        case VIRTIO_NET_HDR_GSO_TCPV4:
            return has(features, VIRTIO_NET_F_HOST_TSO4);
        case VIRTIO_NET_HDR_GSO_TCPV6:
            return has(features, VIRTIO_NET_F_HOST_TSO6);
        default:
            return false;
    }
}

}  // namespace vdpa::engine::relay
