// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/control_thread.hpp"

#include <sys/stat.h>

#include <boost/asio/post.hpp>
#include <cerrno>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent {

Expected<std::unique_ptr<ControlThread>> ControlThread::start(const Settings &settings,
                                                              Outputs outputs) {
    if (::mkdir(settings.run_dir.c_str(), 0700) != 0 && errno != EEXIST) {
        return fail(schema::Reason::record_failed,
                    settings.run_dir + ": cannot be made: " + errno_text(errno));
    }
    auto taps = host::Taps::open(host::OwnedFile(settings.run_dir + "/owned.json"));
    if (!taps) {
        return tl::make_unexpected(taps.error());
    }
    std::unique_ptr<ControlThread> control(
        new ControlThread(settings, std::move(*taps), std::move(outputs)));
    if (auto listening = control->links_.start(); !listening) {
        return tl::make_unexpected(listening.error());
    }
    control->thread_ = std::thread([&io = control->io_] {
        log::set_thread_name("control");
        io.run();
    });
    return control;
}

ControlThread::ControlThread(const Settings &settings, host::Taps taps, Outputs outputs)
    : work_(io_.get_executor()),
      service_manager_(io_),
      netdevs_(io_, std::move(taps)),
      reconciler_({io_,
                   netdevs_,
                   accounts_,
                   board_,
                   std::move(outputs.set_status),
                   std::move(outputs.on_first_pass),
                   {}}),
      links_(io_, [this](const std::string &name) {
          const host::Link *link = links_.find(name);
          reconciler_.netdev_changed(name, link ? std::optional(link->ifindex) : std::nullopt,
                                     link == nullptr || host::is_set_up(*link));
      }) {
    std::vector<engine::EngineService *> services;
    for (const std::string &path : settings.engines) {
        engines_.push_back(
            std::make_unique<engine::Client>(io_, engines_.size(), path, reconciler_));
        services.push_back(engines_.back().get());
    }
    reconciler_.set_engines(std::move(services));
    boost::asio::post(io_, [this] { service_manager_.ready(); });
}

ControlThread::~ControlThread() {
    boost::asio::post(io_, [this] { service_manager_.stopping(); });
    boost::asio::post(io_, [this] { io_.stop(); });
    if (thread_.joinable()) {
        thread_.join();
    }
}

void ControlThread::database_changed(ovs::Changes changes) {
    boost::asio::post(io_, [this, changes = std::move(changes)]() mutable {
        reconciler_.database_changed(std::move(changes));
    });
}

void ControlThread::connection_changed(ovs::ConnectionState state) {
    boost::asio::post(io_, [this, state = std::move(state)] {
        service_manager_.status(state.lock_contended ? "standing by: another agent is at work"
                                : state.connected    ? "connected to " + state.remote
                                                     : "not connected to " + state.remote);
        reconciler_.connection_changed(state);
    });
}

void ControlThread::resync() {
    boost::asio::post(io_, [this] {
        links_.refresh();
        for (const auto &engine : engines_) {
            engine->refresh();
        }
    });
}

void ControlThread::stats(std::string port, std::function<void(Expected<schema::PortStats>)> done) {
    boost::asio::post(io_, [this, port = std::move(port), done = std::move(done)]() mutable {
        reconciler_.stats(port, std::move(done));
    });
}

}  // namespace vdpa::agent
