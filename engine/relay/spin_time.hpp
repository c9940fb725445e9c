// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace vdpa::engine::relay {

/* Nanoseconds on the monotonic clock. */
using Time = uint64_t;

/* How long a queue pair is polled without work before it goes to sleep. Fitted to its traffic, as
 * KVM fits its polling of a halted virtual CPU (Linux, Documentation/virt/kvm/halt-polling.rst):
 * longer for a pair that was woken so soon that polling would have met the work, which saves both
 * sides the waking up; as short as can be for one that slept long. */
class SpinTime {
  public:
    /* Shorter than it takes to wake up would be a waste; on a machine where guests share the CPUs
     * with workers, so is more. */
    static constexpr Time shortest = 20'000;
    /* A stream's acknowledgements come back in less. */
    static constexpr Time longest = 100'000;

    Time get() const { return time_; }
    void woken_after(Time slept) {
        time_ = slept < longest ? std::min(2 * time_, longest) : shortest;
    }

  private:
    Time time_ = shortest;
};

}  // namespace vdpa::engine::relay
