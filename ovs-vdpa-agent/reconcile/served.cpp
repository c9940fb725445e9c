// SPDX-License-Identifier: Apache-2.0
// The engine's part of the conditions, and what the engine says of a port.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;
using schema::Reason;
using schema::State;

std::optional<Error> error_in(const schema::PortStatus &status) {
    if (!status.reason) {
        return std::nullopt;
    }
    return Error{schema::reason_from_string(*status.reason).value_or(Reason::engine_error),
                 status.detail.value_or(*status.reason)};
}

/* Of the schema of an engine that does not open a netdev before it is there. */
constexpr uint32_t minor_with_netdev_awaited = 2;

bool is_about_socket(const Error &error) {
    return error.reason == Reason::socket_dir_missing ||
           error.reason == Reason::socket_path_occupied || error.reason == Reason::socket_in_use ||
           error.reason == Reason::socket_failed;
}

/* Whether the engine could not do what it was told; other reasons are for information. */
bool is_failure(const Error &error) {
    return schema::state_of(error.reason).has_value();
}

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

/* What is still missing to a port in that state. */
std::optional<Condition> unmet_of(PortState state) {
    switch (state) {
        case PortState::listening:
        case PortState::connecting:
            return Condition::front_end;
        case PortState::connected:
            return Condition::running;
        case PortState::running:
            return std::nullopt;
        case PortState::failed:
        case PortState::pending:
        case PortState::removed:
            break;
    }
    return Condition::opened;
}

}  // namespace

std::optional<Verdict> Reconciler::check_engine(Port &port) {
    if (port.engine) {
        const Engine &engine = engines_[*port.engine];
        if (engine.ready) {
            return std::nullopt;
        }
        return unmet(Condition::engine, engine.down);
    }
    const auto usable = std::find_if(engines_.begin(), engines_.end(),
                                     [](const Engine &engine) { return engine.ready; });
    if (usable == engines_.end()) {
        return unmet(Condition::engine, engines_.front().down);
    }
    return unmet(Condition::engine,
                 {Reason::engine_full,
                  "every engine serves as many ports as it can: start another and name it by "
                  "--engine"});
}

std::optional<Verdict> Reconciler::check_applied(Port &port) {
    // An engine that is ahead of the netdev has none open; while it opens one, nobody knows which.
    if (port.reattach && !port.is_ahead_of_netdev()) {
        const bool is_opening = port.lacks_netdev() && port.is_being_told();
        if (is_opening || (!port.lacks_netdev() && !release_engine(port))) {
            return under_way(Condition::opened);
        }
        port.retrying = true;  // if one could not be opened, this is another
    }
    port.reattach = false;
    const bool busy = port.is_being_told() || port.removing;
    if (!busy) {
        const bool told = port.is_told();
        if (told) {
            port.apply_error.reset();
        }
        const auto error = told ? error_in(*port.status) : port.apply_error;
        const bool failed = error && is_failure(*error);
        if (failed && !port.retrying) {
            retry_later(port, *error);
        } else if (failed || !told) {
            apply(port);
        }
    }
    if (port.is_being_told() && port.status && port.status->spec.netdev_awaited) {
        return under_way(
            Condition::opened);  // what came of serving it ahead is of no more interest
    }
    if (port.apply_error && !port.is_served()) {
        return unmet(Condition::opened, *port.apply_error);
    }
    if (port.lacks_netdev()) {
        const auto error = port.is_told() ? error_in(*port.status) : std::nullopt;
        return error && is_failure(*error) ? unmet(Condition::opened, *error)
                                           : under_way(Condition::opened);
    }
    if (port.status && port.status->state != PortState::pending && !port.removing) {
        return std::nullopt;
    }
    return under_way(Condition::opened);
}

/* What takes longest of a new port is its netdev, and a front-end can connect without: it is as if
 * the switch were not plugged in yet. Not where it is known that there will be no netdev. */
void Reconciler::serve_ahead_of_netdev(Port &port) {
    if (!port.engine || port.status || port.told || !port.tap.is_absent() || port.tap.error ||
        env_.has_netdev(port.name)) {
        return;
    }
    const Engine &engine = engines_[*port.engine];
    const bool knows_how = engine.info.schema_minor >= minor_with_netdev_awaited;
    if (engine.ready && knows_how &&
        !other_holder(socket_thing(port.wanted->engine.socket.path), port)) {
        port.spec = port.wanted->engine;
        port.spec->netdev_awaited = true;
        port.tap.patient_until = std::chrono::steady_clock::now() + env_.socket_patience;
        apply(port);
    }
}

void Reconciler::apply(Port &port) {
    port.applying = true;
    port.told = port.spec;
    engines_[*port.engine].service->apply(
        *port.spec, [this, name = port.name, engine = *port.engine,
                     spec = *port.spec](const Expected<schema::PortApplyResult> &result) {
            const auto found = ports_.find(name);
            if (found == ports_.end() || found->second->engine != engine) {
                return;
            }
            Port &answered = *found->second;
            answered.applying = false;
            if (!result) {
                answered.apply_error = result.error();
            } else {
                answered.apply_error.reset();
                answered.accepted = spec;
                answered.accepted_generation = result->generation;
                // The outcome may have come before the answer.
                const bool is_known = answered.status &&
                                      answered.status->generation >= result->generation &&
                                      answered.status->state != PortState::pending;
                answered.awaited = is_known ? 0 : result->generation;
            }
            wake(name);
        });
}

Verdict Reconciler::served_verdict(Port &port) {
    const schema::PortStatus &status = *port.status;
    auto error = error_in(status);
    const bool about_socket = error && is_about_socket(*error);
    if (about_socket) {
        const std::string &path = status.spec.socket.path;
        const bool is_named = error->detail.find(path) != std::string::npos;
        error->detail = "vdpa-socket" + (is_named ? "" : "=" + path) + ": " + error->detail;
    }
    if (status.state == PortState::failed) {
        const Error why = error.value_or(Error{Reason::engine_error, "the engine gives no reason"});
        return unmet(about_socket ? Condition::socket : Condition::opened, why);
    }
    const Verdict verdict{state_of(status.state), std::nullopt, unmet_of(status.state)};
    if (error && is_failure(*error) && status.served == status.spec) {
        // Nothing was refused: it is the device that does not do what it was told.
        return unmet(Condition::running, *error);
    }
    const auto &refused = error && is_failure(*error) ? error : port.apply_error;
    if (refused) {
        return {verdict.state,
                Error{Reason::config_rejected,
                      refused->detail + "; the port goes on with the settings it had"},
                verdict.unmet};
    }
    if (!error) {
        port.backoff.reset();
    }
    return {verdict.state, error, verdict.unmet};
}

}  // namespace vdpa::agent::reconcile
