// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "engine/log.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::relay {

/* What goes wrong with one port, in the log. A guest can cause most of it as often as it likes, so
 * there is a limit for each port. Thread-safe. */
class Complaints {
  public:
    explicit Complaints(std::string port) : port_(std::move(port)) {}

    void say(const std::string &message) {
        VDPA_LOG_WITH_LIMIT(limit_, warn, "relay", "port %s: %s", port_.c_str(), message.c_str());
    }
    /* Says the error, if there is one. */
    void check(const Expected<void> &result) {
        if (!result) {
            say(result.error().detail);
        }
    }

  private:
    const std::string port_;
    log::RateLimit limit_;
};

}  // namespace vdpa::engine::relay
