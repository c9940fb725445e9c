// SPDX-License-Identifier: Apache-2.0
#include "engine/daemon.hpp"

#include <systemd/sd-daemon.h>

#include <csignal>
#include <filesystem>

#include "engine/log.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "daemon";

}  // namespace

Daemon::Daemon(rpc::Listener listener)
    : end_signals_(context_, SIGTERM, SIGINT), hangup_(context_, SIGHUP), watchdog_(context_) {
    const std::string path = std::filesystem::absolute(listener.path()).string();
    engine_ = std::make_unique<Engine>(context_, path, [this](const schema::PortStatus &status) {
        if (server_) {
            server_->notify(schema::method::port_changed, schema::encode(status));
        }
    });
    server_ = std::make_unique<rpc::Server>(context_, std::move(listener), *engine_);
}

void Daemon::run() {
    wait_for_signal();
    wait_for_hangup();
    uint64_t watchdog_us = 0;
    if (::sd_watchdog_enabled(0, &watchdog_us) > 0) {
        watchdog_interval_ = std::chrono::microseconds(watchdog_us / 2);
        feed_watchdog();
    }
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

/* The timer runs on the thread that answers RPC, so it proves that that one lives. */
void Daemon::feed_watchdog() {
    ::sd_notify(0, "WATCHDOG=1");
    watchdog_.expires_after(watchdog_interval_);
    watchdog_.async_wait([this](const boost::system::error_code &error) {
        if (!error) {
            feed_watchdog();
        }
    });
}

}  // namespace vdpa::engine
