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
#include "ovs-vdpa-agent/reconcile/claims.hpp"
#include "ovs-vdpa-agent/reconcile/port.hpp"
#include "ovs-vdpa-agent/reconcile/verdict.hpp"

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
        const config::Accounts &accounts;
        report::Board &board;
        std::function<void(std::vector<ovs::StatusUpdate>)> set_status;
        /* The first whole content of the database has been acted upon, or another agent does that.
         * May be empty. */
        std::function<void()> on_first_pass;
        BackoffLimits backoff;
        /* How long it is kept back that a new port is being provisioned, which mostly takes less.
         * At each change of a row ovs-vswitchd looks at all of its ports anew. */
        std::chrono::milliseconds first_report_delay{100};
    };

    explicit Reconciler(Environment environment)
        : env_(std::move(environment)), owned_retry_(env_.io), deferred_timer_(env_.io) {}

    /* Before anything else; in the order of the indexes that the engines were made with. */
    void set_engines(std::vector<engine::EngineService *> engines);
    void database_changed(ovs::Changes changes);
    void connection_changed(const ovs::ConnectionState &state);
    /* Something happened to a netdev of that name, whose present index is given, or none; and
     * whether its flags are as ensure_tap() leaves them. */
    void netdev_changed(const std::string &name, std::optional<int> ifindex, bool is_set_up = true);
    void stats(const std::string &port, std::function<void(Expected<schema::PortStats>)> done);

    void engine_ready(size_t engine, const schema::EngineInfo &info,
                      std::vector<schema::PortStatus> ports) override;
    void engine_down(size_t engine, const Error &why) override;
    void port_changed(size_t engine, const schema::PortStatus &status) override;
    void restart_pending(size_t engine, bool pending) override;

  private:
    struct Engine {
        engine::EngineService *service = nullptr;
        bool heard = false;  // it is known whether it is there
        bool ready = false;
        schema::EngineInfo info;
        Error down{schema::Reason::engine_down, ""};
        bool restart_pending = false;
        std::set<std::string> ports;
        /* Sockets of ports that were released while the engine was away. If it died, nobody has
         * unlinked them. */
        std::map<std::string, std::string> left_sockets;
    };

    /* reconciler.cpp: what is heard from the database, and the passes */
    Port &port(const std::string &name);
    void take_row(ovs::InterfaceRow row);
    void take_parsed(Port &port, config::ParsedRow parsed);
    void lose_row(Port &port);
    void take_global(const ovs::GlobalRow &row);
    /* Reads what an earlier agent left. */
    void read_owned();
    void take_owned(const Expected<std::vector<std::string>> &names);
    void wake(const std::string &name);
    void wake_host();
    void run();
    bool may_act() const;
    bool may_report() const;

    /* engines.cpp: what is heard from engines, and which ports are on which */
    void take_status(size_t engine, Port &port, const schema::PortStatus &status);
    void place_on(Port &port, std::optional<size_t> engine);
    void choose_engine(Port &port);
    void wake_unplaced();
    void remove_left_sockets();
    void remove_strays();

    /* sockets.cpp: who may have which socket */
    void claim(Port &port);
    /* The port's row asks for that socket; empty: for none. */
    void claim_socket(const Port &claimant, const std::string &path);
    /* An engine serves that socket for the port; empty: none. */
    void hold_socket(const Port &holder, const std::string &path);
    std::string winner_of(const std::string &path) const;
    std::optional<std::string> other_holder(const std::string &path, const Port &port) const;
    std::optional<Verdict> check_socket_free(Port &port);

    /* netdev.cpp: the condition that the netdev is there */
    std::optional<Verdict> check_netdev(Port &port);
    void ask_for_netdev(Port &port);
    void take_netdev(Port &port, const Expected<host::TapState> &result);

    /* advance.cpp: the conditions, in order */
    void advance(Port &port);
    std::optional<Error> config_problem(Port &port);
    std::optional<Verdict> check_engine(Port &port);
    std::optional<Verdict> check_applied(Port &port);
    Verdict served_verdict(Port &port);
    void apply(Port &port);
    void retry_later(Port &port, const Error &error);

    /* release.cpp */
    /* Whether an engine that cannot be asked at present may be serving the port. */
    bool may_be_served(const Port &port) const;
    /* True when nothing is left of the port. */
    bool release(Port &port);
    bool release_engine(Port &port);
    bool release_netdev(Port &port);
    void forget(Port &port);

    /* publish.cpp */
    bool may_be_served_unheard(const Port &port) const;
    void publish_host();
    void report(Port &port, const Verdict &verdict, const std::vector<Error> &notices);
    void defer(const std::string &port, ovs::StatusUpdate update);

    Environment env_;
    std::vector<Engine> engines_;
    std::map<std::string, std::unique_ptr<Port>> ports_;
    Claims claims_;   // sockets that ports want
    Claims holders_;  // sockets that engines serve
    config::HostConfig host_;
    bool has_snapshot_ = false;
    bool has_global_ = false;
    bool is_empty_ = false;  // the database has no Open_vSwitch row
    bool has_owned_ = false;
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
    bool pass_posted_ = false;
    std::vector<ovs::StatusUpdate> updates_;
    std::map<std::string, ovs::StatusUpdate> deferred_;  // by port
    boost::asio::steady_timer deferred_timer_;
};

}  // namespace vdpa::agent::reconcile
