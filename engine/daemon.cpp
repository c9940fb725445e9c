// SPDX-License-Identifier: Apache-2.0
#include "engine/daemon.hpp"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <csignal>
#include <filesystem>

#include "engine/log.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "daemon";

/* Half of what systemd waits, which is what it recommends (sd_watchdog_enabled(3)); without systemd
 * the log has to do. */
std::chrono::microseconds watchdog_interval() {
    uint64_t limit_us = 0;
    return ::sd_watchdog_enabled(0, &limit_us) > 0 ? std::chrono::microseconds(limit_us / 2)
                                                   : std::chrono::seconds(15);
}

}  // namespace

Daemon::Daemon(rpc::Listener listener)
    : end_signals_(context_, SIGTERM, SIGINT),
      hangup_(context_, SIGHUP),
      watchdog_(context_, watchdog_interval(), [] { ::sd_notify(0, "WATCHDOG=1"); }) {
    const std::string path = std::filesystem::absolute(listener.path()).string();
    engine_ = std::make_unique<Engine>(
        context_, path, watchdog_, [this](const schema::PortStatus &status) {
            if (server_) {
                server_->notify(schema::method::port_changed, schema::encode(status));
            }
        });
    server_ = std::make_unique<rpc::Server>(context_, std::move(listener), *engine_);
}

void Daemon::run() {
    wait_for_signal();
    wait_for_hangup();
    watchdog_.start();
    VDPA_LOG(info, module, "ovs-vdpa-engine %s serves %s", OVDA_VERSION, server_->path().c_str());
    ::sd_notifyf(0, "READY=1\nSTATUS=Serving RPC at %s", server_->path().c_str());
    context_.run();

    ::sd_notify(0, "STOPPING=1");
    server_->stop();
    engine_.reset();
    server_.reset();
    VDPA_LOG(info, module, "ended");
}

void Daemon::wait_for_signal() {
    end_signals_.async_wait([this](const boost::system::error_code &error, int signal) {
        if (!error) {
            VDPA_LOG(info, module, "ending at signal %d", signal);
            context_.stop();
        }
    });
}

void Daemon::wait_for_hangup() {
    hangup_.async_wait([this](const boost::system::error_code &error, int) {
        if (!error) {
            log::reopen_file();
            wait_for_hangup();
        }
    });
}

}  // namespace vdpa::engine
