// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/log.hpp"

#include <rte_config.h>
#include <rte_log.h>

#include <utility>

namespace vdpa::engine::relay {

namespace {

constexpr std::chrono::seconds period{10};
constexpr unsigned messages_in_period = 5;

void warn(const std::string &message) {
    static const int type = rte_log_register_type_and_pick_level("ovda.relay", RTE_LOG_INFO);
    rte_log(RTE_LOG_WARNING, type < 0 ? uint32_t{RTE_LOGTYPE_USER1} : static_cast<uint32_t>(type),
            "%s\n", message.c_str());
}

}  // namespace

void Complaints::say(const std::string &message) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - period_start_ >= period) {
        period_start_ = now;
        said_ = 0;
    }
    if (said_ == messages_in_period) {
        suppressed_++;
        return;
    }
    said_++;
    const unsigned suppressed = std::exchange(suppressed_, 0);
    const std::string more =
        suppressed == 0 ? "" : " (after " + std::to_string(suppressed) + " that were not shown)";
    warn("port " + port_ + ": " + message + more);
}

void Complaints::check(const Expected<void> &result) {
    if (!result) {
        say(result.error().detail);
    }
}

}  // namespace vdpa::engine::relay
