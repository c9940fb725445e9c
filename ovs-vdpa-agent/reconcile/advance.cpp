// SPDX-License-Identifier: Apache-2.0
// The conditions of a port, in the order of the diagram in port.hpp.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/reconcile/verdict.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;
using schema::Reason;
using schema::State;

/* What is wrong with the row itself costs next to nothing to look at again, and somebody may be
 * waiting for it to work after having put it right. */
constexpr std::chrono::milliseconds cheap_retry{1000};

std::optional<Error> error_in(const schema::PortStatus &status) {
    if (!status.reason) {
        return std::nullopt;
    }
    return Error{schema::reason_from_string(*status.reason).value_or(Reason::engine_error),
                 status.detail.value_or(*status.reason)};
}

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

}  // namespace

void Reconciler::advance(Port &port) {
    port.retrying = std::exchange(port.retry_due, false);
    if (!port.row) {
        if (release(port)) {
            forget(port);
        }
        return;
    }
    std::vector<Error> notices;
    const auto problem = config_problem(port);
    if (problem && !(port.was_served && port.wanted)) {
        // After a restart of the agent only the engine knows whether the row was good once.
        if (!may_be_served(port)) {
            release(port);
        }
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
                notices.push_back(
                    {Reason::duplicate_socket, "Interface " + other +
                                                   " asks for the same socket and is not "
                                                   "served: give one of them another"});
                break;
            }
        }
    }
    notices.insert(notices.end(), port.parsed->notices.begin(), port.parsed->notices.end());

    if (port.netdev == Port::Netdev::present && !port.multi_queue && port.wanted->max_queues > 1) {
        notices.push_back(
            {Reason::single_queue_netdev,
             "netdev " + port.name +
                 " was made for one queue pair, so all that the guest receives comes "
                 "by its first one: delete the port and, once its netdev is gone, add it "
                 "again"});
    }

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

std::optional<Error> Reconciler::config_problem(Port &port) {
    // A user or group may be made at any time, and nothing tells us of it.
    if (!port.parsed->config && port.parsed->config.error().reason == Reason::bad_socket_owner) {
        if (port.retrying) {
            port.parsed = config::parse_row(*port.row, host_, env_.accounts);
            claim(port);
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

std::optional<Verdict> Reconciler::check_engine(Port &port) {
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

std::optional<Verdict> Reconciler::check_applied(Port &port) {
    if (port.reattach) {
        if (!release_engine(port)) {
            return Verdict{State::provisioning, std::nullopt};
        }
        port.reattach = false;
    }
    const bool busy = port.applying || port.removing || port.awaited != 0;
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
    if (port.apply_error && !port.is_served()) {
        return Verdict{state_of_error(*port.apply_error), port.apply_error};
    }
    if (port.status && port.status->state != PortState::pending && !port.removing) {
        return std::nullopt;
    }
    return Verdict{State::provisioning, std::nullopt};
}

void Reconciler::apply(Port &port) {
    port.applying = true;
    engines_[*port.engine].service->apply(
        *port.wanted, [this, name = port.name, engine = *port.engine,
                       spec = *port.wanted](const Expected<schema::PortApplyResult> &result) {
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
    if (error && is_about_socket(*error)) {
        error->detail = "vdpa-socket=" + status.spec.socket.path + ": " + error->detail;
    }
    if (status.state == PortState::failed) {
        const Error why = error.value_or(Error{Reason::engine_error, "the engine gives no reason"});
        return {state_of_error(why), why};
    }
    if (error && is_failure(*error)) {
        return {state_of(status.state),
                Error{Reason::config_rejected,
                      error->detail + "; the port goes on with the settings it had"}};
    }
    if (port.apply_error) {
        return {state_of(status.state),
                Error{Reason::config_rejected,
                      port.apply_error->detail + "; the port goes on with the settings it had"}};
    }
    if (!error) {
        port.backoff.reset();
    }
    return {state_of(status.state), error};
}

void Reconciler::retry_later(Port &port, const Error &error) {
    const auto cap = state_of_error(error) == State::invalid ? cheap_retry : env_.backoff.last;
    if (port.retry_armed && port.retry.expiry() <= std::chrono::steady_clock::now() + cap) {
        return;
    }
    port.retry_armed = true;
    port.retry.expires_after(port.backoff.next(cap));
    port.retry.async_wait([this, name = port.name](const boost::system::error_code &cancelled) {
        if (cancelled) {
            return;
        }
        const auto found = ports_.find(name);
        if (found == ports_.end()) {
            return;
        }
        found->second->retry_armed = false;
        found->second->retry_due = true;
        wake(name);
    });
}

}  // namespace vdpa::agent::reconcile
