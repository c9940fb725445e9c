// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "schema/support/error.hpp"

namespace vdpa::engine::relay {

/* What goes wrong with one port, in the log: type "ovda.relay" of DPDK's, so that it stands among
 * the vhost library's messages about the same socket. A guest can cause most of it as often as it
 * likes, so a few messages pass at a time and the others are counted. Thread-safe. */
class Complaints {
  public:
    explicit Complaints(std::string port) : port_(std::move(port)) {}

    void say(const std::string &message);
    /* Says the error, if there is one. */
    void check(const Expected<void> &result);

  private:
    const std::string port_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point period_start_{};
    unsigned said_ = 0;
    unsigned suppressed_ = 0;
};

}  // namespace vdpa::engine::relay
