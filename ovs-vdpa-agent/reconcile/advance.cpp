// SPDX-License-Identifier: Apache-2.0
// The conditions of a port, in the order of the diagram in port.hpp.
#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/report/status.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;
using schema::Reason;
using schema::State;

const log::Module module("port");
/* A guest can make its port change state as often as it likes. */
log::RateLimit limit(600, 500);

/* What is wrong with the row itself costs next to nothing to look at again, and somebody may be
 * waiting for it to work after having put it right. */
constexpr std::chrono::milliseconds cheap_retry{1000};

State state_of_error(const Error &error) {
    return schema::state_of(error.reason).value_or(State::failed);
}

std::optional<Error> error_in(const schema::PortStatus &status) {
    if (!status.reason) {
        return std::nullopt;
    }
    return Error{schema::reason_from_string(*status.reason).value_or(Reason::engine_error),
                 status.detail.value_or(*status.reason)};
}

/* Whether the engine could not do what it was told; other reasons are for information. */
bool is_failure(const Error &error) { return schema::state_of(error.reason).has_value(); }

State state_of(PortState state) {
    switch (state) {
        case PortState::listening:
            return State::listening;
        case PortState::connecting:
            return State::connecting;
        case PortState::connected:
            return State::connected;
        case PortState::running:
            return State::running;
        case PortState::failed:
            return State::failed;
        case PortState::pending:
        case PortState::removed:
            break;
    }
    return State::provisioning;
}

}  // namespace

void Reconciler::advance(Port &port) {
    if (!port.row) {
        if (release(port)) {
            forget(port);
        }
        return;
    }
    std::vector<Error> notices;
    const auto problem = config_problem(port);
    if (problem && !(port.was_served && port.wanted)) {
        release(port);
        report(port, {State::invalid, problem}, {});
        return;
    }
    if (problem) {
        notices.push_back({Reason::config_rejected,
                           problem->detail + "; the port goes on with the settings it had"});
    } else {
        port.wanted = port.parsed->config->engine;
        for (const std::string &other : claims_.of(port.wanted->socket.path)) {
            if (other != port.name) {
                notices.push_back({Reason::duplicate_socket,
                                   "Interface " + other + " asks for the same socket and is not "
                                   "served: give one of them another"});
                break;
            }
        }
    }
    notices.insert(notices.end(), port.parsed->notices.begin(), port.parsed->notices.end());

    choose_engine(port);
    auto verdict = check_netdev(port);
    if (!verdict) {
        verdict = check_engine(port);
    }
    if (!verdict) {
        verdict = check_socket_free(port);
    }
    if (!verdict) {
        verdict = check_applied(port);
    }
    report(port, verdict ? *verdict : served_verdict(port), notices);
}

void Reconciler::claim(Port &port) {
    if (port.parsed && port.parsed->config) {
        claim_socket(port, port.parsed->config->engine.socket.path);
    } else {
        const bool stays = port.row && port.was_served && port.wanted;
        claim_socket(port, stays ? port.wanted->socket.path : "");
    }
}

std::optional<Error> Reconciler::config_problem(Port &port) {
    // A user or group may be made at any time, and nothing tells us of it.
    if (!port.parsed->config && port.parsed->config.error().reason == Reason::bad_socket_owner) {
        if (std::exchange(port.retry_due, false)) {
            port.parsed = config::parse_row(*port.row, host_, env_.accounts);
        }
        if (!port.parsed->config) {
            retry_later(port, port.parsed->config.error());
        }
    }
    const auto &config = port.parsed->config;
    if (!config) {
        return config.error();
    }
    const std::string &path = config->engine.socket.path;
    const std::string winner = winner_of(path);
    if (winner == port.name) {
        return std::nullopt;
    }
    return Error{Reason::duplicate_socket, "vdpa-socket=" + path + ": is the socket of Interface " +
                                               winner + ": give one of them another"};
}

std::string Reconciler::winner_of(const std::string &path) const {
    // One that serves the socket and is to go on doing so is not to be disturbed.
    for (const std::string &name : holders_.of(path)) {
        if (claims_.by(name) == path) {
            return name;
        }
    }
    const auto &names = claims_.of(path);
    for (const std::string &name : names) {
        const Port &claimant = *ports_.at(name);
        if (claimant.parsed && claimant.parsed->served_socket == path) {
            return name;
        }
    }
    return names.empty() ? "" : *names.begin();
}

std::optional<Reconciler::Verdict> Reconciler::check_netdev(Port &port) {
    const auto owner = port.engine && engines_[*port.engine].ready
                           ? std::optional<uid_t>(engines_[*port.engine].info.uid)
                           : port.netdev_owner;
    if (port.netdev == Port::Netdev::present && owner == port.netdev_owner) {
        return std::nullopt;
    }
    if (port.netdev_error && !port.retry_due) {
        return Verdict{state_of_error(*port.netdev_error), port.netdev_error};
    }
    if (port.netdev != Port::Netdev::asked && port.netdev != Port::Netdev::removing) {
        port.netdev_owner = owner;
        ask_for_netdev(port);
    }
    return Verdict{State::provisioning, std::nullopt};
}

void Reconciler::ask_for_netdev(Port &port) {
    port.netdev = Port::Netdev::asked;
    port.retry_due = false;
    env_.netdevs.ensure_tap(
        port.name, port.netdev_owner,
        [this, name = port.name](const Expected<host::TapState> &result) {
            Port &answered = *ports_.at(name);  // is not forgotten while it is asked for
            if (result) {
                answered.netdev = Port::Netdev::present;
                answered.netdev_error.reset();
                answered.ifindex = result->ifindex;
                answered.reattach = answered.reattach || (result->created && answered.status);
            } else {
                answered.netdev = Port::Netdev::unknown;
                answered.netdev_error = result.error();
                retry_later(answered, result.error());
            }
            wake(name);
        });
}

void Reconciler::choose_engine(Port &port) {
    if (port.engine) {
        return;
    }
    // Where the row says it was served, it may still be served.
    const auto &hint = port.parsed->engine;
    for (size_t i = 0; hint && i < engines_.size(); i++) {
        if (engines_[i].service->path() == *hint) {
            place_on(port, i);
            return;
        }
    }
    std::optional<size_t> best;
    for (size_t i = 0; i < engines_.size(); i++) {
        const Engine &engine = engines_[i];
        if (engine.ready && engine.ports.size() < engine.info.max_ports &&
            (!best || engine.ports.size() < engines_[*best].ports.size())) {
            best = i;
        }
    }
    if (best) {
        place_on(port, best);
    }
}

std::optional<Reconciler::Verdict> Reconciler::check_engine(Port &port) {
    if (port.engine) {
        const Engine &engine = engines_[*port.engine];
        if (engine.ready) {
            return std::nullopt;
        }
        return Verdict{state_of_error(engine.down), engine.down};
    }
    const auto usable = std::find_if(engines_.begin(), engines_.end(),
                                     [](const Engine &engine) { return engine.ready; });
    if (usable == engines_.end()) {
        const Error &down = engines_.front().down;
        return Verdict{state_of_error(down), down};
    }
    return Verdict{State::waiting,
                   Error{Reason::engine_full,
                         "every engine serves as many ports as it can: start another and name it "
                         "by --engine"}};
}

std::optional<std::string> Reconciler::other_holder(const std::string &path,
                                                    const Port &port) const {
    for (const std::string &name : holders_.of(path)) {
        if (name != port.name) {
            return name;
        }
    }
    return std::nullopt;
}

std::optional<Reconciler::Verdict> Reconciler::check_socket_free(Port &port) {
    const std::string &path = port.wanted->socket.path;
    const auto holder = other_holder(path, port);
    if (!holder) {
        return std::nullopt;
    }
    // Two ports may be waiting for each other's sockets: then both let go first.
    const std::string held = holders_.by(port.name);
    if (!held.empty() && held != path && claims_.of(held).size() > claims_.of(held).count(port.name)) {
        release_engine(port);
    }
    return Verdict{State::provisioning,
                   Error{Reason::duplicate_socket,
                         "vdpa-socket=" + path + ": Interface " + *holder +
                             " is being served on it and has not left it yet"}};
}

std::optional<Reconciler::Verdict> Reconciler::check_applied(Port &port) {
    if (port.reattach) {
        if (!release_engine(port)) {
            return Verdict{State::provisioning, std::nullopt};
        }
        port.reattach = false;
    }
    const bool busy = port.applying || port.removing || port.awaited != 0;
    if (!busy) {
        const bool told = port.status && port.status->spec == *port.wanted;
        const auto error = told ? error_in(*port.status) : port.apply_error;
        const bool failed = error && is_failure(*error);
        if (failed && !port.retry_due) {
            retry_later(port, *error);
        }
        if (failed ? port.retry_due : !told) {
            apply(port);
        }
        if (port.apply_error && !port.applying && !port.is_served()) {
            return Verdict{state_of_error(*port.apply_error), port.apply_error};
        }
    }
    if (port.status && port.status->state != PortState::pending && !port.removing) {
        return std::nullopt;
    }
    return Verdict{State::provisioning, std::nullopt};
}

void Reconciler::apply(Port &port) {
    port.applying = true;
    port.retry_due = false;
    engines_[*port.engine].service->apply(
        *port.wanted,
        [this, name = port.name](const Expected<schema::PortApplyResult> &result) {
            const auto found = ports_.find(name);
            if (found == ports_.end()) {
                return;
            }
            Port &answered = *found->second;
            answered.applying = false;
            if (!result) {
                answered.apply_error = result.error();
                if (result.error().reason != Reason::engine_down) {
                    retry_later(answered, result.error());
                }
            } else {
                answered.apply_error.reset();
                const bool told = answered.status &&
                                  answered.status->generation >= result->generation &&
                                  answered.status->state != PortState::pending;
                if (result->changed && !told) {
                    answered.awaited = result->generation;
                }
            }
            wake(name);
        });
}

Reconciler::Verdict Reconciler::served_verdict(Port &port) {
    const schema::PortStatus &status = *port.status;
    const auto error = error_in(status);
    if (status.state == PortState::failed) {
        const Error why = error.value_or(Error{Reason::engine_error, "the engine gives no reason"});
        return {state_of_error(why), why};
    }
    if (error && is_failure(*error)) {
        return {state_of(status.state),
                Error{Reason::config_rejected,
                      error->detail + "; the port goes on with the settings it had"}};
    }
    if (!error) {
        port.backoff.reset();
    }
    return {state_of(status.state), error};
}

bool Reconciler::release_engine(Port &port) {
    if (!port.engine || !engines_[*port.engine].ready) {
        return true;  // an engine that comes back with the port is told then
    }
    if (port.applying || port.removing) {
        return false;
    }
    if (!port.status) {
        return true;
    }
    port.removing = true;
    engines_[*port.engine].service->remove(
        port.name, [this, name = port.name](const Expected<schema::PortRemoveResult> &result) {
            const auto found = ports_.find(name);
            if (found == ports_.end()) {
                return;
            }
            Port &answered = *found->second;
            if (!result) {
                answered.removing = false;
                if (result.error().reason != Reason::engine_down) {
                    retry_later(answered, result.error());
                }
            } else if (!result->existed) {
                answered.removing = false;
                answered.status.reset();
                hold_socket(answered, "");
            }
            wake(name);
        });
    return false;
}

bool Reconciler::release_netdev(Port &port) {
    if (port.netdev == Port::Netdev::absent) {
        return true;
    }
    if (port.netdev == Port::Netdev::asked || port.netdev == Port::Netdev::removing ||
        (port.netdev_error && !port.retry_due && port.netdev_error->reason != Reason::name_taken)) {
        return false;
    }
    port.netdev = Port::Netdev::removing;
    port.retry_due = false;
    env_.netdevs.remove_tap(port.name, [this, name = port.name](const Expected<void> &result) {
        Port &answered = *ports_.at(name);  // is not forgotten while it is being removed
        if (result) {
            answered.netdev = Port::Netdev::absent;
            answered.netdev_error.reset();
        } else {
            module.error(name + ": " + result.error().detail);
            answered.netdev = Port::Netdev::unknown;
            answered.netdev_error = result.error();
            retry_later(answered, result.error());
        }
        wake(name);
    });
    return false;
}

bool Reconciler::release(Port &port) {
    port.wanted.reset();
    port.was_served = false;
    port.reattach = false;
    port.apply_error.reset();
    return release_engine(port) && release_netdev(port);
}

void Reconciler::forget(Port &port) {
    module.info(port.name + ": released");
    const std::string name = port.name;
    place_on(port, std::nullopt);
    hold_socket(port, "");
    env_.board.erase_port(name);
    updates_.push_back(report::no_port_status(name));
    ports_.erase(name);
}

void Reconciler::retry_later(Port &port, const Error &error) {
    if (port.retry_armed) {
        return;
    }
    const auto cap = state_of_error(error) == State::invalid ? cheap_retry : env_.backoff.last;
    port.retry_armed = true;
    port.retry.expires_after(port.backoff.next(cap));
    port.retry.async_wait([this, name = port.name](const boost::system::error_code &cancelled) {
        const auto found = ports_.find(name);
        if (cancelled || found == ports_.end()) {
            return;
        }
        found->second->retry_armed = false;
        found->second->retry_due = true;
        wake(name);
    });
}

void Reconciler::report(Port &port, const Verdict &verdict, const std::vector<Error> &notices) {
    report::PortView view;
    view.name = port.name;
    view.bridge = port.row->bridge;
    view.state = verdict.state;
    std::vector<Error> all = notices;
    if (verdict.reason) {
        all.insert(all.begin(), *verdict.reason);
    }
    for (const Error &error : all) {
        view.reason = view.reason ? view.reason : error.reason;
        view.detail += (view.detail.empty() ? "" : "; ") + error.detail;
    }
    if (port.engine) {
        view.engine = engines_[*port.engine].service->path();
    }
    if (port.wanted) {
        view.device = "tap:" + port.wanted->device.name;
        view.socket = port.wanted->socket.path;
        view.socket_mode = to_string(port.wanted->socket.mode);
        view.max_queues = port.wanted->max_queues;
    } else if (port.parsed->config) {
        view.socket = port.parsed->config->engine.socket.path;
    }
    if (port.is_served()) {
        const schema::PortSpec &served = *port.status->served;
        view.socket = served.socket.path;
        view.socket_mode = to_string(served.socket.mode);
        view.max_queues = served.max_queues;
        if (served.socket.mode == schema::SocketMode::server) {
            view.served_socket = served.socket.path;
        }
    }
    if (port.status) {
        view.queues = port.status->queues;
        view.connections = port.status->connections;
        view.features = port.status->features;
    }
    const bool same_state = port.view && port.view->state == view.state;
    view.since = same_state ? port.view->since : std::chrono::system_clock::now();
    if (view == port.view) {
        return;
    }
    if (!same_state || port.view->reason != view.reason) {
        const std::string text = port.name + ": " + to_string(view.state) +
                                 (view.reason ? std::string(" (") + to_string(*view.reason) + ")"
                                              : "") +
                                 (view.detail.empty() ? "" : ": " + view.detail);
        const bool bad = view.state == State::invalid || view.state == State::failed ||
                         view.reason == Reason::config_rejected;
        bad ? module.warn(limit, text) : module.info(limit, text);
    }
    port.view = view;
    env_.board.set_port(view);
    updates_.push_back(report::port_status(view));
}

}  // namespace vdpa::agent::reconcile
