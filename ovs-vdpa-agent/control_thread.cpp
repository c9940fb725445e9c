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
    const host::OwnedFile record(settings.run_dir + "/owned.json");
    auto taps = host::Taps::open(record);
    if (!taps) {
        return tl::make_unexpected(taps.error());
    }
    std::unique_ptr<ControlThread> control(
        new ControlThread(settings, record, std::move(*taps), std::move(outputs)));
    if (auto listening = control->links_.start(); !listening) {
        return tl::make_unexpected(listening.error());
    }
    control->inventory_.start();
    control->thread_ = std::thread([&io = control->io_] {
        log::set_thread_name("control");
        io.run();
    });
    return control;
}

ControlThread::ControlThread(const Settings &settings, const host::OwnedFile &record,
                             host::Taps taps, Outputs outputs)
    : work_(io_.get_executor()),
      accounts_(io_, [this](const auto &account) { reconciler_.account_changed(account); }),
      service_manager_(io_),
      netdevs_(io_, std::move(taps)),
      representors_(io_, record),
      pfs_(io_, record),
      vdpas_(io_, record),
      reconciler_(environment(std::move(outputs))),
      links_(io_,
             [this](const std::string &name) {
                 const host::Link *link = links_.find(name);
                 reconciler_.netdev_changed(name,
                                            link ? std::optional(link->ifindex) : std::nullopt,
                                            link == nullptr || host::is_set_up(*link));
             }),
      inventory_(io_, links_, {}, [this](std::shared_ptr<const host::Inventory> inventory) {
          reconciler_.inventory_changed(std::move(inventory));
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

reconcile::Reconciler::Environment ControlThread::environment(Outputs outputs) {
    const auto has_interface = [this, ask = std::move(outputs.has_interface)](
                                   const std::string &name, std::function<void(bool)> done) {
        ask(name, [this, done = std::move(done)](bool exists) {
            boost::asio::post(io_, [done, exists] { done(exists); });
        });
    };
    return {
        .io = io_,
        .netdevs = netdevs_,
        .representors = representors_,
        .pfs = pfs_,
        .vdpas = vdpas_,
        .accounts = accounts_,
        .board = board_,
        .set_status = std::move(outputs.set_status),
        .has_interface = has_interface,
        .has_netdev = [this](const std::string &name) { return links_.find(name) != nullptr; },
        .refresh = [this](const host::Handle &pf,
                          std::function<void()> done) { inventory_.refresh(pf, std::move(done)); },
        .refresh_vdpa =
            [this](std::function<void()> done) { inventory_.refresh_vdpa(std::move(done)); },
        .on_first_pass = std::move(outputs.on_first_pass),
        .backoff = {}};
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
        if (const auto known = inventory_.inventory()) {
            for (const host::Pf &pf : known->pfs) {
                inventory_.refresh(pf.handle);
            }
        }
        inventory_.refresh_vdpa();
        accounts_.refresh();
        for (const auto &engine : engines_) {
            engine->refresh();
        }
    });
}

void ControlThread::stats(std::string port, bool reset, reconcile::Reconciler::StatsReply done) {
    boost::asio::post(io_, [this, port = std::move(port), reset, done = std::move(done)]() mutable {
        reconciler_.stats(port, reset, std::move(done));
    });
}

}  // namespace vdpa::agent
