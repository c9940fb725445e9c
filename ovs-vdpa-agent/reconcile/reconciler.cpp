// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/report/status.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;
using schema::Reason;

const log::Module module("reconcile");
log::RateLimit limit;

constexpr std::chrono::seconds owned_retry{2};

}  // namespace

void Reconciler::set_engines(std::vector<engine::EngineService *> engines) {
    for (auto *service : engines) {
        Engine engine;
        engine.service = service;
        engine.down.detail = "no answer yet from the engine at " + service->path();
        engines_.push_back(std::move(engine));
    }
}

void Reconciler::start() {
    env_.netdevs.owned_taps(
        [this](const Expected<std::vector<std::string>> &names) { take_owned(names); });
}

void Reconciler::take_owned(const Expected<std::vector<std::string>> &names) {
    if (!names) {
        if (owned_error_ != names.error()) {
            module.error(names.error().detail);
            owned_error_ = names.error();
        }
        auto timer = std::make_shared<boost::asio::steady_timer>(env_.io, owned_retry);
        timer->async_wait([this, timer](const boost::system::error_code &error) {
            if (!error) {
                start();
            }
        });
        wake_host();
        return;
    }
    owned_error_.reset();
    has_owned_ = true;
    for (const std::string &name : *names) {
        Port &owned = port(name);
        if (owned.netdev == Port::Netdev::absent) {
            owned.netdev = Port::Netdev::unknown;
        }
    }
    for (const auto &[name, known] : ports_) {
        wake(name);
    }
    wake_host();
}

Port &Reconciler::port(const std::string &name) {
    auto &slot = ports_[name];
    if (!slot) {
        slot = std::make_unique<Port>(env_.io, name, env_.backoff);
    }
    return *slot;
}

void Reconciler::database_changed(ovs::Changes changes) {
    has_global_ = changes.has_global;
    if (changes.global) {
        take_global(*changes.global);
    }
    if (!changes.has_global) {
        // A database without this row has been emptied or not yet filled: nobody asked us to
        // remove anything.
        wake_host();
        return;
    }
    std::set<std::string> present;
    for (auto &row : changes.interfaces) {
        present.insert(row.name);
        take_row(std::move(row));
    }
    std::vector<std::string> gone = std::move(changes.gone);
    if (changes.complete) {
        has_snapshot_ = true;
        for (const auto &[name, known] : ports_) {
            if (known->row && !present.contains(name)) {
                gone.push_back(name);
            }
            wake(name);
        }
    }
    for (const std::string &name : gone) {
        if (const auto found = ports_.find(name); found != ports_.end()) {
            found->second->row.reset();
            found->second->parsed.reset();
            wake(name);
        }
    }
    wake_host();
}

void Reconciler::take_row(ovs::InterfaceRow row) {
    Port &changed = port(row.name);
    changed.parsed = config::parse_row(row, host_, env_.accounts);
    changed.row = std::move(row);
    changed.backoff.reset();
    changed.retry_due = true;
    wake(changed.name);
}

void Reconciler::take_global(const ovs::GlobalRow &row) {
    host_ = config::parse_host_config(row);
    for (Engine &engine : engines_) {
        engine.service->set_start_params(host_.engine);
    }
    // Defaults may have changed for every port.
    for (const auto &[name, known] : ports_) {
        if (known->row) {
            known->parsed = config::parse_row(*known->row, host_, env_.accounts);
            wake(name);
        }
    }
    wake_host();
}

void Reconciler::connection_changed(const ovs::ConnectionState &state) {
    if (state.lock_contended && !connection_.lock_contended) {
        module.warn("another ovs-vdpa-agent holds the lock of " + state.remote +
                    ": doing nothing until it ends");
    }
    connection_ = state;
    lock_was_held_ = !state.lock_contended && (lock_was_held_ || state.lock_held);
    for (const auto &[name, known] : ports_) {
        wake(name);
    }
    wake_host();
}

void Reconciler::netdev_changed(const std::string &name, std::optional<int> ifindex) {
    const auto found = ports_.find(name);
    if (found == ports_.end()) {
        return;
    }
    Port &changed = *found->second;
    if (changed.netdev == Port::Netdev::asked || changed.netdev == Port::Netdev::removing) {
        return;  // our own doing; the answer says what came of it
    }
    if (changed.netdev == Port::Netdev::present && ifindex == changed.ifindex) {
        return;
    }
    changed.netdev = Port::Netdev::unknown;
    changed.netdev_error.reset();
    wake(name);
}

void Reconciler::stats(const std::string &name,
                       std::function<void(Expected<schema::PortStats>)> done) {
    const auto found = ports_.find(name);
    if (found == ports_.end()) {
        done(fail(Reason::engine_error, "there is no vDPA port " + name));
        return;
    }
    const Port &asked = *found->second;
    if (!asked.engine || !asked.status) {
        done(fail(Reason::engine_error, name + ": no engine serves the port; see vdpa/show"));
        return;
    }
    engines_[*asked.engine].service->stats(name, std::move(done));
}

void Reconciler::engine_ready(size_t index, const schema::EngineInfo &info,
                              std::vector<schema::PortStatus> statuses) {
    Engine &engine = engines_[index];
    engine.ready = true;
    engine.info = info;
    // Whatever was known of its ports is replaced by what it says now.
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.status.reset();
        known.apply_error.reset();
        known.awaited = 0;
        hold_socket(known, "");
        wake(name);
    }
    for (const auto &status : statuses) {
        Port &listed = port(status.name);
        // What runs counts more than where the port was going to be placed.
        if (!listed.engine || (!listed.status && !listed.applying)) {
            place_on(listed, index);
        }
        take_status(index, listed, status);
    }
    for (const auto &[name, known] : ports_) {
        if (!known->engine) {
            wake(name);
        }
    }
    wake_host();
}

void Reconciler::engine_down(size_t index, const Error &why) {
    Engine &engine = engines_[index];
    engine.ready = false;
    engine.down = why;
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.status.reset();
        known.applying = known.removing = false;
        known.awaited = 0;
        known.apply_error.reset();
        hold_socket(known, "");
        wake(name);
    }
    for (const auto &[name, known] : ports_) {
        if (!known->engine) {
            wake(name);
        }
    }
    wake_host();
}

void Reconciler::port_changed(size_t index, const schema::PortStatus &status) {
    const auto found = ports_.find(status.name);
    if (found == ports_.end()) {
        if (status.state == PortState::removed) {
            return;
        }
        place_on(port(status.name), index);
    }
    take_status(index, port(status.name), status);
}

void Reconciler::take_status(size_t index, Port &changed, const schema::PortStatus &status) {
    if (changed.engine != index) {
        // The port is on two engines, which nobody wants: this one is to let go. It holds nothing
        // that the port needs, or the other could not serve it.
        if (status.state != PortState::removed) {
            module.warn(limit, changed.name + ": also on " + engines_[index].service->path() +
                                   ", where it is removed");
            engines_[index].service->remove(changed.name,
                                            [](const Expected<schema::PortRemoveResult> &) {});
        }
        return;
    }
    if (status.state == PortState::removed) {
        changed.status.reset();
        changed.removing = false;
        changed.awaited = 0;
    } else {
        changed.status = status;
        if (status.generation >= changed.awaited && status.state != PortState::pending) {
            changed.awaited = 0;
        }
        if (changed.is_served()) {
            changed.was_served = true;
            if (!changed.wanted) {
                changed.wanted = status.served;  // adopted
            }
        }
    }
    hold_socket(changed, changed.is_served() ? status.served->socket.path : "");
    wake(changed.name);
    wake_host();
}

void Reconciler::restart_pending(size_t index, bool pending) {
    engines_[index].restart_pending = pending;
    wake_host();
}

void Reconciler::place_on(Port &placed, std::optional<size_t> engine) {
    if (placed.engine) {
        engines_[*placed.engine].ports.erase(placed.name);
    }
    placed.engine = engine;
    wake_host();
    if (engine) {
        engines_[*engine].ports.insert(placed.name);
    }
}

void Reconciler::hold_socket(const Port &holder, const std::string &path) {
    const std::string before = holders_.set(holder.name, path);
    if (before == path) {
        return;
    }
    // Whoever waits for the one to become free, and whoever competes for the other.
    for (const std::string &thing : {before, path}) {
        for (const std::string &name : claims_.of(thing)) {
            wake(name);
        }
    }
}

void Reconciler::claim_socket(const Port &claimant, const std::string &path) {
    const std::string before = claims_.set(claimant.name, path);
    if (before == path) {
        return;
    }
    for (const std::string &thing : {before, path}) {
        for (const auto *names : {&claims_.of(thing), &holders_.of(thing)}) {
            for (const std::string &name : *names) {
                if (name != claimant.name) {
                    wake(name);
                }
            }
        }
    }
}

void Reconciler::wake(const std::string &name) {
    awake_.insert(name);
    if (!pass_posted_) {
        pass_posted_ = true;
        boost::asio::post(env_.io, [this] { run(); });
    }
}

void Reconciler::wake_host() {
    host_awake_ = true;
    if (!pass_posted_) {
        pass_posted_ = true;
        boost::asio::post(env_.io, [this] { run(); });
    }
}

/* Nothing is done before it is known what is wanted and what is ours, nor beside another agent.
 * While the database is away, what was wanted last is kept up. */
bool Reconciler::may_act() const {
    return has_snapshot_ && has_global_ && has_owned_ && lock_was_held_;
}

void Reconciler::run() {
    pass_posted_ = false;
    if (may_act()) {
        const std::set<std::string> names = std::exchange(awake_, {});
        // Every claim is known before any is judged: rows may have traded sockets.
        for (const std::string &name : names) {
            if (const auto found = ports_.find(name); found != ports_.end()) {
                claim(*found->second);
            }
        }
        // What is given back first may be what another port waits for.
        for (const bool releases : {true, false}) {
            for (const std::string &name : names) {
                const auto found = ports_.find(name);
                if (found != ports_.end() && found->second->row.has_value() != releases) {
                    advance(*found->second);
                }
            }
        }
    }
    if (std::exchange(host_awake_, false)) {
        publish_host();
    }
    if (!updates_.empty()) {
        env_.set_status(std::exchange(updates_, {}));
    }
    if ((may_act() || connection_.lock_contended) && !first_pass_done_) {
        first_pass_done_ = true;
        if (env_.on_first_pass) {
            env_.on_first_pass();
        }
    }
}

void Reconciler::publish_host() {
    report::HostView view;
    view.database = connection_;
    view.has_snapshot = has_snapshot_;
    std::optional<Error> problem = owned_error_;
    if (!host_.errors.empty() && !problem) {
        problem = host_.errors.front();
        problem->detail = "Open_vSwitch other_config: " + problem->detail;
    }
    for (const Engine &engine : engines_) {
        report::EngineView shown;
        shown.path = engine.service->path();
        shown.usable = engine.ready;
        if (engine.ready) {
            shown.pid = engine.info.pid;
            shown.version = engine.info.version;
            shown.ports = engine.ports.size();
        } else {
            shown.problem = engine.down.detail;
            problem = problem ? problem : engine.down;
        }
        if (engine.restart_pending) {
            shown.problem = "other_config was changed after DPDK started: restart the engine for "
                            "it to take effect";
            problem = problem ? problem
                              : Error{Reason::engine_restart_pending,
                                      shown.path + ": " + shown.problem};
        }
        view.engines.push_back(std::move(shown));
    }
    if (!host_.unknown_keys.empty() && !problem) {
        problem = Error{Reason::unknown_key, "Open_vSwitch other_config:" +
                                                 host_.unknown_keys.front() +
                                                 " means nothing: check its spelling"};
    }
    if (problem) {
        view.reason = problem->reason;
        view.detail = problem->detail;
    }
    const bool changed = view != host_view_;
    if (may_act() && (changed || !host_reported_)) {
        host_reported_ = true;
        updates_.push_back(report::host_status(view));
    }
    if (changed) {
        host_view_ = view;
        env_.board.set_host(std::move(view));
    }
}

}  // namespace vdpa::agent::reconcile
