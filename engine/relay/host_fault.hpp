// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "engine/relay/log.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::relay {

/* What the host refuses to a port: for its status, for the log, and for another attempt. It is
 * found anew by every attempt, from begin() to end(), so that it goes when its cause has gone.
 * fault() is for any thread, and so is add(); the others are for one at a time. */
class HostFault {
  public:
    using Clock = std::chrono::steady_clock;

    explicit HostFault(Complaints &complaints) : complaints_(complaints) {}

    void begin() {
        found_.reset();
        const std::lock_guard lock(mutex_);
        was_added_ = false;
    }
    /* `consequence`: what does not work for want of it. The first of an attempt counts. */
    void note(const Expected<void> &result, const std::string &consequence) {
        if (!result && !found_) {
            found_ = describe(result.error(), consequence);
        }
    }
    void end() {
        const std::lock_guard lock(mutex_);
        if (found_ || !was_added_) {
            set(std::exchange(found_, std::nullopt));
        }
    }
    /* The same outside of an attempt: what was found before goes on if `result` is good, and what
     * is found here if an attempt ends well meanwhile. */
    void add(const Expected<void> &result, const std::string &consequence) {
        if (!result) {
            const std::lock_guard lock(mutex_);
            was_added_ = true;
            set(describe(result.error(), consequence));
        }
    }

    std::optional<Error> fault() const {
        const std::lock_guard lock(mutex_);
        return fault_;
    }
    bool wants_retry(Clock::time_point now) const {
        const std::lock_guard lock(mutex_);
        return fault_ && now >= again_at_;
    }

  private:
    static constexpr std::chrono::seconds first_again{2};
    static constexpr std::chrono::seconds last_again{30};

    static Error describe(const Error &error, const std::string &consequence) {
        return {error.reason, consequence + ": " + error.detail +
                                  "; it is tried again at intervals of up to " +
                                  std::to_string(last_again.count()) + " s"};
    }

    void set(std::optional<Error> fault) {
        if (!fault) {
            again_after_ = {};
        } else {
            // A front-end's messages are attempts, too, and many come together.
            if (const auto now = Clock::now(); !fault_ || now >= again_at_) {
                again_after_ = std::clamp(2 * again_after_, first_again, last_again);
                again_at_ = now + again_after_;
            }
            if (fault_ != fault) {
                complaints_.say(fault->detail);
            }
        }
        fault_ = std::move(fault);
    }

    Complaints &complaints_;
    std::optional<Error> found_;  // by the attempt that is under way
    mutable std::mutex mutex_;    // all below
    std::optional<Error> fault_;
    bool was_added_ = false;  // since begin()
    Clock::time_point again_at_{};
    std::chrono::seconds again_after_{0};
};

}  // namespace vdpa::engine::relay
