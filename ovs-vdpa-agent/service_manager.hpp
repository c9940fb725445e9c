// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <string>

namespace vdpa::agent {

/* What systemd is told (sd_notify(3)). The watchdog is fed by a timer of the control thread, so
 * that it proves that this thread lives. Without systemd every call does nothing. */
class ServiceManager {
  public:
    explicit ServiceManager(boost::asio::io_context &io);

    void ready();
    void stopping();
    /* One line, shown by systemctl status. */
    void status(const std::string &text);

  private:
    void feed_watchdog();

    boost::asio::steady_timer timer_;
    std::chrono::microseconds interval_{0};
};

}  // namespace vdpa::agent
