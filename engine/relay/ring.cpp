// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/ring.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace vdpa::engine::relay {

Ring::Ring(unsigned number, const RingSetup &setup, uint64_t features, const GuestMemory &memory,
           const DirtyLog &log, QueueCounters &counters, Complaints &complaints)
    : queue_(make_virtqueue(setup, features, memory, log)),
      log_(log),
      counters_(counters),
      complaints_(complaints),
      number_(number),
      kick_fd_(setup.kick_fd),
      call_fd_(setup.call_fd),
      position_(setup.next_avail) {
    counters_.broken.store(queue_ == nullptr, std::memory_order_relaxed);
    if (queue_ == nullptr) {
        complaints_.say("ring " + std::to_string(number_) +
                        " is not served: it is not wholly in guest memory, misaligned or of a "
                        "size that is not allowed");
    }
    if (call_fd_ >= 0) {
        // The front-end chose it; a pipe or a saturated eventfd must not stop a worker.
        const int flags = fcntl(call_fd_, F_GETFL);
        if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
            fcntl(call_fd_, F_SETFL, flags | O_NONBLOCK);
        }
    }
}

void Ring::mark_broken() {
    counters_.bad_descriptor.add(1);
    counters_.broken.store(true, std::memory_order_relaxed);
    complaints_.say("ring " + std::to_string(number_) +
                    " is not served any more: the guest's driver put a malformed chain into it");
}

void Ring::publish() {
    if (queue_->publish() && call_fd_ >= 0) {
        const uint64_t one = 1;
        // A full pipe (EAGAIN) is a notification that waits to be read.
        if (write(call_fd_, &one, sizeof one) == sizeof one) {
            counters_.interrupts.add(1);
        }
    }
}

}  // namespace vdpa::engine::relay
