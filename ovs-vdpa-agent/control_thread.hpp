// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ovs-vdpa-agent/config/account_cache.hpp"
#include "ovs-vdpa-agent/engine/client.hpp"
#include "ovs-vdpa-agent/host/inventory_monitor.hpp"
#include "ovs-vdpa-agent/host/link_monitor.hpp"
#include "ovs-vdpa-agent/host/netdev_worker.hpp"
#include "ovs-vdpa-agent/host/pf_worker.hpp"
#include "ovs-vdpa-agent/host/representor_worker.hpp"
#include "ovs-vdpa-agent/host/vdpa_worker.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/service_manager.hpp"

namespace vdpa::agent {

/* The thread that decides: the reconciler and all that it listens to, on one io_context. The public
 * functions may be called from any thread; they post. */
class ControlThread {
  public:
    struct Settings {
        std::vector<std::string> engines;  // RPC sockets
        std::string run_dir;
    };
    struct Outputs {
        std::function<void(std::vector<ovs::StatusUpdate>)> set_status;
        /* Whether there is an Interface row of that name; answers from any thread. */
        std::function<void(const std::string &name, std::function<void(bool)> done)> has_interface;
        std::function<void()> on_first_pass;
    };

    /* Error: when the host cannot be listened to. */
    static Expected<std::unique_ptr<ControlThread>> start(const Settings &settings,
                                                          Outputs outputs);
    /* Ends the thread. Ports go on being served. */
    ~ControlThread();

    void database_changed(ovs::Changes changes);
    void connection_changed(ovs::ConnectionState state);
    /* Reads anew what is heard by notifications otherwise, or by nothing at all: the netdevs,
     * devices and accounts of the host, and what the engines run. The database is the caller's. */
    void resync();
    void stats(std::string port, bool reset, reconcile::Reconciler::StatsReply done);
    const report::Board &board() const { return board_; }

  private:
    ControlThread(const Settings &settings, const host::OwnedFile &record, host::Taps taps,
                  Outputs outputs);
    reconcile::Reconciler::Environment environment(Outputs outputs);

    boost::asio::io_context io_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    config::AccountCache accounts_;
    report::Board board_;
    ServiceManager service_manager_;
    host::NetdevWorker netdevs_;
    host::RepresentorWorker representors_;
    host::PfWorker pfs_;
    host::VdpaWorker vdpas_;
    reconcile::Reconciler reconciler_;
    host::LinkMonitor links_;
    host::InventoryMonitor inventory_;
    std::vector<std::unique_ptr<engine::Client>> engines_;
    std::thread thread_;
};

}  // namespace vdpa::agent
