// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/features.hpp"

#include <initializer_list>

namespace vdpa::engine::kernel {

namespace {

constexpr uint64_t bits(std::initializer_list<unsigned> numbers) {
    uint64_t features = 0;
    for (const unsigned number : numbers) {
        features |= uint64_t{1} << number;
    }
    return features;
}

/* Younger than Debian 12's headers (virtio 1.2, 5.1.3). */
constexpr unsigned net_f_guest_uso4 = 54;
constexpr unsigned net_f_guest_uso6 = 55;
constexpr unsigned net_f_host_uso = 56;
constexpr unsigned net_f_guest_hdrlen = 59;

/* What concerns rings, frames and the configuration space only, so that guest and device agree on
 * it between themselves. Not among them, on purpose:
 * - what is controlled by commands on the control queue (CTRL_RX, CTRL_VLAN, CTRL_MAC_ADDR,
 *   CTRL_GUEST_OFFLOADS, RSS, HASH_REPORT, NOTF_COAL): QEMU takes those commands itself, so the
 *   device would never hear of them and the guest would believe that it had.
 * - NOTIFICATION_DATA: a kick by eventfd carries no data. RING_RESET: vhost-user has no message for
 *   it. SR_IOV, STANDBY: not a matter of one device's rings.
 * - VHOST_F_LOG_ALL: vhost-vdpa logs no dirty pages (it refuses VHOST_SET_LOG_BASE), so QEMU must
 *   find out that this guest cannot migrate. */
constexpr uint64_t passed_through = bits({
    VIRTIO_F_VERSION_1,      VIRTIO_F_ANY_LAYOUT,     VIRTIO_F_RING_PACKED,
    VIRTIO_F_IN_ORDER,       VIRTIO_F_ORDER_PLATFORM, VIRTIO_RING_F_INDIRECT_DESC,
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_CSUM,       VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_MTU,        VIRTIO_NET_F_MAC,        VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_GUEST_UFO,
    VIRTIO_NET_F_HOST_TSO4,  VIRTIO_NET_F_HOST_TSO6,  VIRTIO_NET_F_HOST_ECN,
    VIRTIO_NET_F_HOST_UFO,   VIRTIO_NET_F_MRG_RXBUF,  VIRTIO_NET_F_STATUS,
    net_f_guest_uso4,        net_f_guest_uso6,        net_f_host_uso,
    net_f_guest_hdrlen,      VIRTIO_NET_F_RSC_EXT,    VIRTIO_NET_F_SPEED_DUPLEX,
});

/* VHOST_USER_PROTOCOL_F_* (QEMU's docs/interop/vhost-user.rst): MQ, REPLY_ACK, NET_MTU, BACKEND_REQ
 * (User-mode Linux sets up no interrupt without), CONFIG, STATUS. Not among them: LOG_SHMFD (no
 * dirty pages, see above), RARP (nobody could send it), INFLIGHT_SHMFD (the device keeps no such
 * record), HOST_NOTIFIER: QEMU maps a doorbell for reading, too (hw/virtio/vhost-user.c), which
 * vhost-vdpa refuses (vhost_vdpa_mmap); besides, it would have to be given the device's own file,
 * which then stays open, and the device alive, for as long as the front-end likes. */
constexpr uint64_t protocol_features = bits({0, 3, 4, 5, 9, 16});

}  // namespace

uint64_t offered_features(const DeviceInfo &info) {
    uint64_t offered = (info.features & passed_through) | bits({vhost_user_f_protocol_features});
    if (info.selection != PairSelection::none) {
        // QEMU answers the control queue itself, and gives a guest none, and with it one pair only,
        // when the bit is not offered.
        offered |= bits({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
    }
    return offered;
}

uint64_t offered_protocol_features() {
    return protocol_features;
}

Expected<uint64_t> features_for_device(const DeviceInfo &info, uint64_t negotiated) {
    if (!has(negotiated, VIRTIO_F_VERSION_1)) {
        return fail(schema::Reason::device_failed,
                    "the guest's virtio driver is a legacy one (no VIRTIO_F_VERSION_1), which " +
                        info.path + " cannot serve; use one of virtio 1.0 or later");
    }
    uint64_t features =
        (negotiated & info.features & passed_through) | bits({VIRTIO_F_ACCESS_PLATFORM});
    if (has(negotiated, VIRTIO_NET_F_MQ)) {
        if (info.selection == PairSelection::command) {
            features |= bits({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
        } else if (info.selection == PairSelection::enable) {
            features |= bits({VIRTIO_NET_F_MQ});
        }
    }
    return features;
}

}  // namespace vdpa::engine::kernel
