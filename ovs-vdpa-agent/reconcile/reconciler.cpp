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

void Reconciler::read_owned() {
    has_owned_ = false;
    env_.netdevs.owned_taps(
        [this](const Expected<std::vector<std::string>> &names) { take_owned(names); });
}

void Reconciler::take_owned(const Expected<std::vector<std::string>> &names) {
    if (!names) {
        if (owned_error_ != names.error()) {
            module.error(names.error().detail);
            owned_error_ = names.error();
        }
        owned_retry_.expires_after(owned_retry);
        owned_retry_.async_wait([this](const boost::system::error_code &error) {
            if (!error) {
                read_owned();
            }
        });
        for (const auto &[name, known] : ports_) {
            wake(name);
        }
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
    is_empty_ = !changes.has_global;
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
            lose_row(*found->second);
        }
    }
    wake_host();
}

void Reconciler::lose_row(Port &lost) {
    lost.row.reset();
    lost.parsed.reset();
    lost.try_afresh();
    wake(lost.name);
}

void Reconciler::take_row(ovs::InterfaceRow row) {
    Port &changed = port(row.name);
    auto parsed = config::parse_row(row, host_, env_.accounts);
    changed.row = std::move(row);
    take_parsed(changed, std::move(parsed));
}

void Reconciler::take_parsed(Port &changed, config::ParsedRow parsed) {
    // ovs-vswitchd writes to the row too, which is no reason to hurry.
    if (!changed.parsed || changed.parsed->config != parsed.config) {
        changed.try_afresh();
    }
    changed.parsed = std::move(parsed);
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
            take_parsed(*known, config::parse_row(*known->row, host_, env_.accounts));
        }
    }
    wake_host();
}

void Reconciler::connection_changed(const ovs::ConnectionState &state) {
    if (state.lock_contended && !connection_.lock_contended) {
        module.warn("another ovs-vdpa-agent holds the lock of " + state.remote +
                    ": doing nothing until it ends");
    }
    if (state.lock_held && !connection_.lock_held) {
        // Whoever held it before may have made and removed things, and has written that down.
        read_owned();
    }
    connection_ = state;
    lock_was_held_ = !state.lock_contended && (lock_was_held_ || state.lock_held);
    for (const auto &[name, known] : ports_) {
        wake(name);
    }
    wake_host();
}

void Reconciler::netdev_changed(const std::string &name, std::optional<int> ifindex,
                                bool is_set_up) {
    const auto found = ports_.find(name);
    if (found == ports_.end()) {
        return;
    }
    Port &changed = *found->second;
    if (changed.netdev == Port::Netdev::asked || changed.netdev == Port::Netdev::removing) {
        // Perhaps our own doing; the answer comes. What is not set up has to be asked for again.
        changed.heard = is_set_up ? ifindex : std::nullopt;
        return;
    }
    if ((changed.netdev == Port::Netdev::present && ifindex == changed.ifindex && is_set_up) ||
        (changed.netdev == Port::Netdev::absent && !ifindex)) {
        return;
    }
    // An attempt that fails leaves such news behind itself, which must not be what has it repeated.
    if (changed.netdev_error && changed.netdev_error->reason != Reason::name_taken) {
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
    engine.heard = engine.ready = true;
    engine.info = info;
    // Whatever was known of its ports is replaced by what it says now.
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.forget_engine_state();
        hold_socket(known, "");
        wake(name);
    }
    for (const auto &status : statuses) {
        Port &listed = port(status.name);
        // What runs counts more than where the port was going to be placed.
        const bool is_new_elsewhere = !listed.status && !listed.applying;
        if (!listed.engine || (listed.engine != index && !listed.is_served() &&
                               (status.served || is_new_elsewhere))) {
            if (listed.engine && !is_new_elsewhere) {
                strays_.emplace(*listed.engine, listed.name);
            }
            place_on(listed, index);
        }
        take_status(index, listed, status);
    }
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        const std::string left = known.status ? "" : std::exchange(known.socket_file, "");
        if (!left.empty()) {
            engine.left_sockets[name] = left;
        }
    }
    wake_unplaced();
    wake_host();
}

void Reconciler::engine_down(size_t index, const Error &why) {
    Engine &engine = engines_[index];
    engine.heard = true;
    engine.ready = false;
    engine.down = why;
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.forget_engine_state();
        hold_socket(known, "");
        wake(name);
    }
    wake_unplaced();
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
            strays_.emplace(index, changed.name);
            wake_host();
        }
        return;
    }
    if (status.state == PortState::removed) {
        if (!changed.removing && status.generation < changed.awaited) {
            return;  // an earlier agent had it removed, and it is there again
        }
        changed.status.reset();
        changed.socket_file.clear();
        changed.accepted.reset();
        changed.removing = false;
        changed.awaited = 0;
    } else {
        changed.status = status;
        if (status.generation >= changed.awaited && status.state != PortState::pending) {
            changed.awaited = 0;
        }
        if (changed.is_served() && !changed.removing) {
            changed.was_served = true;
            if (!changed.wanted) {
                changed.wanted = status.served;  // adopted
            }
        }
    }
    const std::string held = changed.is_served() ? status.served->socket.path : "";
    const bool has_file = !held.empty() && status.served->socket.mode == schema::SocketMode::server;
    changed.socket_file = has_file ? held : "";
    hold_socket(changed, held);
    wake(changed.name);
    wake_host();
}

void Reconciler::restart_pending(size_t index, bool pending) {
    engines_[index].restart_pending = pending;
    wake_host();
}

void Reconciler::place_on(Port &placed, std::optional<size_t> engine) {
    if (placed.engine) {
        Engine &left = engines_[*placed.engine];
        const bool was_full = left.ports.size() >= left.info.max_ports;
        left.ports.erase(placed.name);
        placed.forget_engine_state();
        if (was_full) {
            wake_unplaced();
        }
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

/* There may be room, or hope, on an engine now. */
void Reconciler::wake_unplaced() {
    for (const auto &[name, known] : ports_) {
        if (!known->engine) {
            wake(name);
        }
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
    return may_report() && has_owned_;
}

bool Reconciler::may_report() const {
    return has_snapshot_ && has_global_ && lock_was_held_;
}

/* An engine that died could not remove its socket files; the one that is there now can. */
void Reconciler::remove_left_sockets() {
    for (Engine &engine : engines_) {
        if (!engine.ready || engine.left_sockets.empty()) {
            continue;
        }
        for (const auto &[name, path] : std::exchange(engine.left_sockets, {})) {
            const auto found = ports_.find(name);
            const bool is_there = found != ports_.end() && found->second->status;
            // One that a port wants is replaced when that port is served.
            if (!is_there && claims_.of(path).empty()) {
                engine.service->remove_dead_socket(name, path);
            }
        }
    }
}

void Reconciler::remove_strays() {
    for (const auto &[index, name] : std::exchange(strays_, {})) {
        // An engine that is away tells of the port when it is back.
        if (engines_[index].ready) {
            engines_[index].service->remove(name,
                                            [](const Expected<schema::PortRemoveResult> &) {});
        }
    }
}

void Reconciler::run() {
    pass_posted_ = false;
    if (may_act()) {
        remove_strays();
        const std::set<std::string> names = std::exchange(awake_, {});
        // Every claim is known before any is judged: rows may have traded sockets.
        for (const std::string &name : names) {
            if (const auto found = ports_.find(name); found != ports_.end()) {
                claim(*found->second);
            }
        }
        remove_left_sockets();
        // What is given back first may be what another port waits for.
        for (const bool releases : {true, false}) {
            for (const std::string &name : names) {
                const auto found = ports_.find(name);
                if (found != ports_.end() && found->second->row.has_value() != releases) {
                    advance(*found->second);
                }
            }
        }
    } else if (may_report() && owned_error_) {
        for (const std::string &name : awake_) {
            if (const auto found = ports_.find(name); found != ports_.end() && found->second->row) {
                report(*found->second, {schema::State::failed, owned_error_}, {});
            }
        }
    }
    if (std::exchange(host_awake_, false)) {
        publish_host();
    }
    if (!updates_.empty()) {
        env_.set_status(std::exchange(updates_, {}));
    }
    const bool is_held_back =
        connection_.lock_contended || (lock_was_held_ && (is_empty_ || owned_error_));
    if ((may_act() || is_held_back) && !first_pass_done_) {
        first_pass_done_ = true;
        if (env_.on_first_pass) {
            env_.on_first_pass();
        }
    }
}

}  // namespace vdpa::agent::reconcile
