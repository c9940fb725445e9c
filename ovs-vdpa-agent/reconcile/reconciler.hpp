// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "ovs-vdpa-agent/config/host_config.hpp"
#include "ovs-vdpa-agent/engine/engine_service.hpp"
#include "ovs-vdpa-agent/host/netdev_service.hpp"
#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/host/representor_service.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"
#include "ovs-vdpa-agent/reconcile/claims.hpp"
#include "ovs-vdpa-agent/reconcile/pfs.hpp"
#include "ovs-vdpa-agent/reconcile/port.hpp"
#include "ovs-vdpa-agent/reconcile/verdict.hpp"
#include "ovs-vdpa-agent/report/stats.hpp"

namespace vdpa::agent::reconcile {

/* Makes the host be what the database says.
 *
 * Lives on the control thread. Whatever is heard, from the database, an engine or the host, is
 * noted, and the ports that it concerns are looked at in one pass soon after; a pass finds, for
 * each, the first condition that does not hold and does what makes it hold. Nothing depends on the
 * order in which things are heard, nor on having heard all of it. The work of a pass is in
 * proportion to the ports that something was heard about. */
class Reconciler : public engine::EngineListener {
  public:
    struct Environment {
        boost::asio::io_context &io;
        host::NetdevService &netdevs;
        host::RepresentorService &representors;
        host::PfService &pfs;
        host::VdpaService &vdpas;
        config::Accounts &accounts;
        report::Board &board;
        std::function<void(std::vector<ovs::StatusUpdate>)> set_status;
        /* Whether there is an Interface row of that name, be it a vDPA port or not; answers later,
         * once, on the control thread. */
        std::function<void(const std::string &name, std::function<void(bool)> done)> has_interface;
        /* Whether there is a netdev of that name, as last heard of. */
        std::function<bool(const std::string &name)> has_netdev;
        /* Have the inventory be read anew where nothing notifies of a change: of a PF and what is
         * its; of kernel vDPA devices. `done` is called later, after inventory_changed(). */
        std::function<void(const host::Handle &pf, std::function<void()> done)> refresh;
        std::function<void(std::function<void()> done)> refresh_vdpa;
        /* The first whole content of the database has been acted upon, or another agent does that.
         * May be empty. */
        std::function<void()> on_first_pass;
        BackoffLimits backoff;
        /* How long it is kept back that a new port is being provisioned, which mostly takes less;
         * longer, while others that came with it become ready. ovsdb-server and all who follow the
         * row have as much work with that as with the status which comes next. */
        std::chrono::milliseconds first_report_delay{100};
        /* How long a vDPA device is not made yet, for ovs-vswitchd to tell the port's MTU. */
        std::chrono::milliseconds mtu_patience{1000};
        /* For how long nothing is said of an owner that is not known yet, and after how long an
         * account that is not there, or could not be told, is looked up again. */
        std::chrono::milliseconds account_patience{1000};
        /* How long the netdev of a new emulated VF is not made yet, for the engine to serve the
         * socket first. */
        std::chrono::milliseconds socket_patience{100};
    };

    explicit Reconciler(Environment environment);

    /* Before anything else; in the order of the indexes that the engines were made with. */
    void set_engines(std::vector<engine::EngineService *> engines);
    void database_changed(ovs::Changes changes);
    void connection_changed(const ovs::ConnectionState &state);
    /* Something happened to a netdev of that name, whose present index is given, or none; and
     * whether its flags are as ensure_tap() leaves them. */
    void netdev_changed(const std::string &name, std::optional<int> ifindex, bool is_set_up = true);
    /* What is known of that user or group has become something else. */
    void account_changed(const config::AccountName &name);
    /* What this host has, whole, and whenever it has become something else. Until it is told for
     * the first time, ports on devices are left as they are. */
    void inventory_changed(std::shared_ptr<const host::Inventory> inventory);
    using StatsReply = std::function<void(Expected<report::StatsView>)>;
    /* Counters, compared with those of the last call for that port. With `reset` they begin at 0
     * again after that. */
    void stats(const std::string &port, bool reset, StatsReply done);

    void engine_ready(size_t engine, const schema::EngineInfo &info,
                      std::vector<schema::PortStatus> ports) override;
    void engine_down(size_t engine, const Error &why) override;
    void port_changed(size_t engine, const schema::PortStatus &status) override;
    void restart_pending(size_t engine, bool pending) override;

  private:
    using PickAsset = Asset &(*)(Port &);

    struct LeftSocket {
        LeftSocket(boost::asio::io_context &io, std::string left, BackoffLimits limits)
            : path(std::move(left)), backoff(limits), retry(io) {}
        const std::string path;
        bool is_busy = false;  // the engine is being asked to remove it, or will be later
        bool was_told = false;
        Backoff backoff;
        boost::asio::steady_timer retry;
    };
    struct Engine {
        engine::EngineService *service = nullptr;
        bool heard = false;  // it is known whether it is there
        bool ready = false;
        schema::EngineInfo info;
        Error down{schema::Reason::engine_down, ""};
        bool restart_pending = false;
        std::set<std::string> ports;
        /* Sockets of ports that were released while the engine was away, by the port's name. If it
         * died, nobody has unlinked them. */
        std::map<std::string, LeftSocket> left_sockets;
    };

    /* reconciler.cpp: what is heard from the database, and the passes */
    Port &port(const std::string &name);
    void take_row(ovs::InterfaceRow row);
    /* Whether the row now asks for something else. */
    bool read_row(Port &port);
    void lose_row(Port &port);
    void take_global(const ovs::GlobalRow &row);
    void wake(const std::string &name);
    void wake_all();
    void wake_host();
    void run();
    void act();
    bool may_act() const;
    bool may_report() const;

    /* accounts.cpp: the users and groups that rows name */
    void note_accounts(const std::string &port, const std::set<config::AccountName> &before,
                       const std::set<config::AccountName> &now);
    void look_up_accounts(const Port &port);
    void look_up_again(Port &port);
    bool is_owner_overdue(const Port &port) const;

    /* owned.cpp: what an earlier agent left */
    void read_owned();
    template <typename T>
    auto reader(const std::function<void(const T &)> &take);
    void owned_unreadable(const Error &error);
    void own(const std::string &name, PickAsset pick);

    /* inventory.cpp: which ports have to do with what has changed on the host */
    void take_inventory();
    void watch(Port &port);
    void look_again_later();
    void look_again();
    void wake_watchers(const std::string &thing);
    std::set<host::Handle> pfs_used_by(const Port &port) const;
    std::map<host::Handle, std::vector<std::string>> users_of_pfs() const;

    /* engines.cpp: what is heard from engines, and which ports are on which */
    void take_status(size_t engine, Port &port, const schema::PortStatus &status);
    void adopt(Port &port);
    void place_on(Port &port, std::optional<size_t> engine);
    void choose_engine(Port &port);
    void wake_unplaced();
    void leave_socket(size_t engine, const std::string &port, const std::string &path);
    void remove_left_sockets();
    void remove_left_socket(size_t engine, const std::string &port);
    void left_socket_removed(size_t engine, const std::string &port, const std::string &path,
                             const Expected<schema::PortRemoveResult> &result);
    void remove_strays();

    /* exclusive.cpp: who may have what only one port can have */
    void claim(Port &port);
    void update_holds(const Port &port);
    std::string winner_of(const std::string &thing) const;
    std::optional<std::string> other_holder(const std::string &thing, const Port &port) const;
    std::optional<Error> lost_to(const Port &port) const;
    std::optional<Error> rival_of(const Port &port) const;
    std::optional<Verdict> check_devices_free(Port &port);
    std::optional<Verdict> check_socket_free(Port &port);

    /* wish.cpp: what the port is to be */
    /* Looks for the device that the row asks for, and claims what the row wants. */
    void examine(Port &port);
    Expected<Plan> find(const config::PortConfig &config) const;
    /* Takes over what the row asks for, or says why not. */
    std::optional<Error> accept(Port &port);
    void replan(Port &port);
    std::optional<Verdict> check_plan(Port &port);
    std::optional<Error> pf_problem(const Port &port, const Error &error) const;

    /* tap.cpp, representor.cpp, device.cpp: what is made on the host */
    std::optional<Verdict> check_netdev(Port &port);
    std::optional<Verdict> check_tap(Port &port);
    bool waits_for_socket(Port &port);
    void ask_for_tap(Port &port);
    void take_tap(Port &port, const Expected<host::TapState> &result);
    std::optional<Verdict> check_representor(Port &port);
    void ask_for_representor(Port &port);
    void ensure_representor(Port &port);
    void wait_for_news(Port &port);
    std::optional<Verdict> check_device(Port &port);
    std::optional<Verdict> check_vdpa(Port &port);
    bool waits_for_mtu(Port &port);
    void ask_for_vdpa(Port &port);

    /* served.cpp: the engine's part */
    std::optional<Verdict> check_engine(Port &port);
    std::optional<Verdict> check_applied(Port &port);
    Verdict served_verdict(Port &port);
    void serve_ahead_of_netdev(Port &port);
    void apply(Port &port);

    /* advance.cpp: all conditions, in order */
    void advance(Port &port);
    Verdict first_unmet(Port &port);
    std::vector<Error> notices_of(const Port &port) const;
    void retry_later(Port &port, const Error &error);
    void retry_later(Port &port, std::chrono::milliseconds cap);
    void retry_after(Port &port, std::chrono::milliseconds delay);

    /* stale.cpp: what belongs to something that is not wanted any more */
    std::optional<Verdict> check_stale(Port &port);
    /* True when nothing of it is left. */
    bool drop_stale(Port &port);
    bool is_engine_stale(const Port &port) const;
    std::optional<schema::DeviceSpec> wanted_device(const Port &port) const;

    /* release.cpp */
    /* Whether an engine that cannot be asked at present may be serving the port. */
    bool may_be_served(const Port &port) const;
    /* True when nothing is left of the port. */
    bool release(Port &port);
    bool release_engine(Port &port);
    bool release_vdpa(Port &port);
    bool release_representor(Port &port);
    bool release_tap(Port &port);
    /* True when the asset is to be removed now. */
    bool may_remove(Port &port, const Asset &asset);
    /* Whether the port's representor is attached to a switch, as far as the inventory tells. */
    bool is_attached(const Port &port) const;
    std::function<void(Expected<void>)> removal_of(const Port &port, PickAsset pick);
    void forget(Port &port);

    /* stats.cpp */
    struct Sample {
        report::PortCounters counters;
        std::optional<std::chrono::steady_clock::time_point> time;  // none: never asked for
        report::PortCounters kernel;  // those of the kernel among them
        report::PortCounters zero;    // where those stood when they were reset
    };
    void add_kernel_stats(const std::string &name, report::PortCounters counters,
                          const StatsReply &done);
    void reset_stats(const std::string &name, const report::StatsView &view,
                     const StatsReply &done);
    std::string vdpa_device_of(const std::string &name) const;
    report::StatsView compared(const std::string &name, report::PortCounters counters);

    /* publish.cpp */
    bool may_be_served_unheard(const Port &port) const;
    void publish_host();
    void report(Port &port, const Verdict &verdict, const std::vector<Error> &notices);
    void report_release(Port &port);
    void defer(const std::string &port, ovs::StatusUpdate update);
    void wait_for_deferred();

    Environment env_;
    std::vector<Engine> engines_;
    std::map<std::string, std::unique_ptr<Port>> ports_;
    Claims claims_;    // what ports want of which there is one: sockets, functions, devices
    Claims holders_;   // what they have of it
    Claims watchers_;  // what of the host concerns them
    std::map<config::AccountName, Claims::Names> named_by_;  // ports, by accounts in their rows
    Pfs pfs_;
    std::shared_ptr<const host::Inventory> inventory_;  // as acted upon; null: not known yet
    FunctionsByDevice functions_;                       // of inventory_
    std::shared_ptr<const host::Inventory> news_;       // as told last, if that differs
    config::HostConfig host_;
    bool has_snapshot_ = false;
    bool has_global_ = false;
    bool is_empty_ = false;     // the database has no Open_vSwitch row
    size_t unread_ = 1;         // parts of the record of what is ours, until it has been read
    uint64_t owned_round_ = 0;  // of its reading
    bool first_pass_done_ = false;
    std::optional<Error> owned_error_;
    boost::asio::steady_timer owned_retry_;
    ovs::ConnectionState connection_;
    bool lock_was_held_ = false;
    std::optional<report::HostView> host_view_;
    bool host_reported_ = false;

    /* Ports on engines that have no business with them. */
    std::set<std::pair<size_t, std::string>> strays_;
    std::set<std::string> awake_;
    bool host_awake_ = false;
    bool pfs_awake_ = false;
    boost::asio::steady_timer look_again_;
    bool look_again_armed_ = false;
    bool pass_posted_ = false;
    std::map<std::string, Sample> samples_;  // by port
    std::vector<ovs::StatusUpdate> updates_;
    std::map<std::string, ovs::StatusUpdate> deferred_;  // by port
    size_t overtaken_ = 0;  // such as became something else, since that timer was set
    std::chrono::steady_clock::time_point deferred_until_{};
    boost::asio::steady_timer deferred_timer_;
};

}  // namespace vdpa::agent::reconcile
