// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/relay/ring.hpp"
#include "engine/relay/virtio.hpp"

namespace vdpa::engine::relay {

/* The longest frame that passes: an IP packet of 64 KiB, as segmentation offload makes them, in an
 * Ethernet frame with a VLAN tag. */
inline constexpr size_t max_frame_size = 65535 + 14 + 4;

/* How much of one ring is moved before the other rings have their turn, and before the other side
 * learns of it. Bounded by bytes, for GSO frames: the guest shall work on some while we move
 * others. */
inline constexpr unsigned burst_frames = 64;
inline constexpr size_t burst_bytes = 256 * 1024;

/* From the ring that a guest fills to transmit to a queue of the TAP.
 *
 * A frame that the TAP does not take is dropped, EAGAIN included: a TAP has no queue in this
 * direction, the kernel carries each frame into the network stack during the call, so that there is
 * nothing to wait for; and a guest that waits would wait for other guests' sake. */
class Transmitter {
  public:
    Transmitter(Ring &ring, int tap_fd, uint64_t features);

    /* Moves up to one burst; returns the frames taken from the ring. `scratch` is for its own use.
     */
    unsigned burst(Segments &scratch);

  private:
    void send(const Chain &chain, Segments &segments);

    Ring &ring_;
    int tap_fd_;
    uint64_t features_;
    size_t header_size_;
};

}  // namespace vdpa::engine::relay
