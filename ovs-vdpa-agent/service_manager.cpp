// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/service_manager.hpp"

#include <systemd/sd-daemon.h>

namespace vdpa::agent {

ServiceManager::ServiceManager(boost::asio::io_context &io) : timer_(io) {
    uint64_t limit = 0;
    if (sd_watchdog_enabled(0, &limit) > 0) {
        interval_ = std::chrono::microseconds(limit / 3);
        feed_watchdog();
    }
}

void ServiceManager::ready() {
    sd_notify(0, "READY=1");
}

void ServiceManager::stopping() {
    sd_notify(0, "STOPPING=1");
}

void ServiceManager::status(const std::string &text) {
    sd_notify(0, ("STATUS=" + text).c_str());
}

void ServiceManager::feed_watchdog() {
    sd_notify(0, "WATCHDOG=1");
    timer_.expires_after(interval_);
    timer_.async_wait([this](const boost::system::error_code &error) {
        if (!error) {
            feed_watchdog();
        }
    });
}

}  // namespace vdpa::agent
