// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace vdpa::agent::reconcile {

/* Times between attempts at something that fails. */
struct BackoffLimits {
    std::chrono::milliseconds first{100};
    std::chrono::milliseconds last{30'000};
};

/* Doubles the time to wait with every failure, up to a limit, with a jitter of a fifth so that
 * ports that failed together do not try again together. */
class Backoff {
  public:
    explicit Backoff(BackoffLimits limits) : limits_(limits) {}

    /* How long to wait after one more failure; `cap` lowers the limit for what is cheap to try. */
    std::chrono::milliseconds next(std::chrono::milliseconds cap) {
        static thread_local std::minstd_rand random{std::random_device{}()};
        current_ = current_.count() == 0 ? limits_.first : current_ * 2;
        current_ = std::min({current_, limits_.last, cap});
        std::uniform_int_distribution<int64_t> jitter(-current_.count() / 10,
                                                      current_.count() / 10);
        return current_ + std::chrono::milliseconds(jitter(random));
    }
    void reset() { current_ = {}; }

  private:
    BackoffLimits limits_;
    std::chrono::milliseconds current_{};
};

}  // namespace vdpa::agent::reconcile
