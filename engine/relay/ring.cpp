// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/ring.hpp"

#include <string>

namespace vdpa::engine::relay {

Ring::Ring(unsigned number, const RingSetup &setup, uint64_t features, const GuestMemory &memory,
           const DirtyLog &log, QueueCounters &counters, Complaints &complaints, Caller &caller)
    : queue_(make_virtqueue(setup, features, memory, log)),
      log_(log),
      counters_(counters),
      complaints_(complaints),
      number_(number),
      kick_fd_(setup.kick_fd),
      call_(setup.call_fd, caller),
      position_(setup.next_avail) {
    counters_.broken.store(queue_ == nullptr, std::memory_order_relaxed);
    if (queue_ == nullptr) {
        complaints_.say("ring " + std::to_string(number_) +
                        " is not served: it is not wholly in guest memory, misaligned or of a "
                        "size that is not allowed");
    }
    if (setup.call_fd >= 0 && !call_) {
        complaints_.say(
            "ring " + std::to_string(number_) +
            " interrupts nobody: what the front-end gave to do so is neither an eventfd "
            "nor a unix socket");
    }
}

void Ring::mark_broken() {
    counters_.bad_descriptor.add(1);
    counters_.broken.store(true, std::memory_order_relaxed);
    complaints_.say("ring " + std::to_string(number_) +
                    " is not served any more: the guest's driver put a malformed chain into it");
}

void Ring::publish() {
    if (queue_->publish() && call_ && call_.call()) {
        counters_.interrupts.add(1);
    }
}

}  // namespace vdpa::engine::relay
