// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "engine/relay/ring.hpp"

namespace vdpa::engine::relay {

/* From a queue of the TAP into the ring that a guest fills with buffers to receive.
 *
 * The size of a frame is known only after it was read, so buffers for the longest possible frame
 * are offered to each read and those that were filled are used. Buffers that were not stay fetched
 * for the next frame. */
class Receiver {
  public:
    enum class Result {
        more,      // the burst is over, the TAP may have more
        drained,   // the TAP has nothing
        no_space,  // the TAP has frames, perhaps, and the guest too few buffers
        broken,
    };

    Receiver(Ring &ring, int tap_fd, uint64_t features);

    /* Moves up to one burst. `frames`: how many reached the guest. `insist`: try even if the guest
     * has so few buffers that a long frame would be lost. */
    Result burst(bool insist, unsigned &frames);

    /* Whether there is a buffer at all to try with. */
    bool has_buffers() const { return chain_count_ != 0; }

  private:
    enum class Read { frame, dropped, nothing };

    bool fill();
    bool enough() const;
    size_t usual_stock() const;
    Read read_frame(size_t &moved);
    void deliver(size_t size);
    void patch_header(uint16_t buffers);
    void store(size_t offset, const void *from, size_t size);
    Chain &chain(size_t n) { return chains_[(first_chain_ + n) % Segments::capacity]; }

    Ring &ring_;
    int tap_fd_;
    size_t header_size_;
    bool mergeable_;
    bool clear_flags_;
    size_t wanted_;  // bytes of buffer that hold any frame the kernel may have, with its header
    // What is fetched and not used: chains, oldest first, and their segments end to end.
    Segments segments_;
    std::array<Chain, Segments::capacity> chains_;
    size_t first_chain_ = 0;
    size_t chain_count_ = 0;
    size_t bytes_ = 0;
    // This many chains are worth trying: the guest was seen to post no more. Until it posts
    // enough for any frame.
    size_t stock_;
    bool window_full_ = false;  // the guest may have posted more than we can fetch ahead
};

}  // namespace vdpa::engine::relay
