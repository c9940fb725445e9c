// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/relay/virtio.hpp"

namespace vdpa::engine::relay {

/* Not in the kernel's user-space headers in a form that C++ takes. */
inline constexpr unsigned vhost_f_log_all = 26;
inline constexpr unsigned vhost_user_f_protocol_features = 30;

constexpr bool has(uint64_t features, unsigned bit) {
    return (features >> bit & 1) != 0;
}

/* See Port::features. */
uint64_t offered_features(bool packed, bool offloads);

/* Bytes of the virtio-net header in front of each frame: 12, or 10 for legacy drivers without
 * mergeable buffers (virtio 1.2, 5.1.6.4). */
size_t net_header_size(uint64_t features);

/* The argument of TUNSETOFFLOAD (linux/if_tun.h) with which the kernel hands over no frame that a
 * guest with these features cannot take. */
unsigned tap_offloads(uint64_t features);

/* Makes the header of a frame from the guest fit what was negotiated: what the guest may not ask
 * for is cleared. False: it asks for segmentation that was not negotiated, and the frame makes no
 * sense without. Everything else the kernel checks itself (include/linux/virtio_net.h,
 * virtio_net_hdr_to_skb). `header`: the first 10 bytes, little endian as is the TAP. */
bool sanitise(virtio_net_hdr &header, uint64_t features);

}  // namespace vdpa::engine::relay
