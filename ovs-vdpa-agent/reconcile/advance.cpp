// SPDX-License-Identifier: Apache-2.0
// The conditions of a port, in the order of the diagram in port.hpp.
#include <algorithm>
#include <iterator>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;
using schema::State;

/* What is wrong with the row itself costs next to nothing to look at again, and somebody may be
 * waiting for it to work after having put it right. */
constexpr std::chrono::milliseconds cheap_retry{1000};

Error goes_on(const Error &problem) {
    return {Reason::config_rejected,
            problem.detail + "; the port goes on with the settings it had"};
}

/* A misspelt key may be why something else is missing. */
std::vector<Error> unknown_keys_of(const Port &port) {
    std::vector<Error> notices;
    std::ranges::copy_if(port.parsed->notices, std::back_inserter(notices),
                         [](const Error &notice) { return notice.reason == Reason::unknown_key; });
    return notices;
}

/* What the guest would see of the device, where that is not what the row says. */
std::optional<Error> device_differs(const Port &port) {
    if (!port.is_served() || !port.wanted->device) {
        return std::nullopt;
    }
    const std::string &mac = port.wanted->mac;
    const auto &device_mac = port.status->device_mac;
    if (device_mac && !mac.empty() && *device_mac != mac) {
        return Error{Reason::guest_differs, "the device's MAC address is " + *device_mac +
                                                ", not " + mac + " as the row says"};
    }
    const uint32_t mtu = port.status->device_mtu;
    if (mtu != 0 && port.wanted->mtu && mtu != *port.wanted->mtu) {
        return Error{Reason::guest_differs, "the device's MTU is " + std::to_string(mtu) +
                                                ", not " + std::to_string(*port.wanted->mtu) +
                                                " as the netdev's"};
    }
    return std::nullopt;
}

}  // namespace

void Reconciler::advance(Port &port) {
    port.retrying = std::exchange(port.retry_due, false);
    if (!port.row) {
        if (release(port)) {
            forget(port);
        } else {
            report_release(port);
        }
        return;
    }
    if (port.parsed->config && port.parsed->config->device && !inventory_) {
        report(port, under_way(Condition::function), {});
        return;
    }
    const auto problem = accept(port);
    const bool is_unresolved = problem && problem == port.parsed->unresolved;
    const bool has_settings = port.was_served && port.wanted;
    if (is_unresolved && !has_settings) {
        // The answer mostly comes at once, and what it has on the host may be what it will need;
        // but nobody is to connect to a socket that was another's before.
        if (port.is_ahead_of_netdev()) {
            release_engine(port);
        }
        report(port,
               is_owner_overdue(port) ? unmet(Condition::config, *problem)
                                      : under_way(Condition::config),
               unknown_keys_of(port));
        return;
    }
    if (problem && !has_settings) {
        // After a restart of the agent only the engine knows whether the row was good once.
        if (!may_be_served(port)) {
            release(port);
        }
        report(port, {State::invalid, problem, Condition::config}, unknown_keys_of(port));
        return;
    }
    std::vector<Error> notices = notices_of(port);
    if (problem && !is_unresolved) {
        notices.insert(notices.begin(), goes_on(*problem));
    }
    Verdict verdict = first_unmet(port);
    if (port.plan_error && state_of_error(*port.plan_error) == State::invalid && port.is_served()) {
        // The row was good once, and what it names has become something else.
        notices.insert(notices.begin(), goes_on(*port.plan_error));
        verdict = served_verdict(port);
    }
    report(port, verdict, notices);
    watch(port);
}

Verdict Reconciler::first_unmet(Port &port) {
    using Check = std::optional<Verdict> (Reconciler::*)(Port &);
    constexpr Check checks[] = {&Reconciler::check_plan,         &Reconciler::check_stale,
                                &Reconciler::check_devices_free, &Reconciler::check_netdev,
                                &Reconciler::check_device,       &Reconciler::check_engine,
                                &Reconciler::check_socket_free,  &Reconciler::check_applied};
    choose_engine(port);
    for (const Check check : checks) {
        if (auto verdict = (this->*check)(port)) {
            return *verdict;
        }
    }
    return served_verdict(port);
}

/* What the owner of the row has to know, the most important first. */
std::vector<Error> Reconciler::notices_of(const Port &port) const {
    std::vector<Error> notices;
    if (port.parsed->unresolved && is_owner_overdue(port)) {
        notices.push_back(*port.parsed->unresolved);
        notices.back().detail += "; until then the port goes on with the settings it had";
    }
    if (const auto rival = rival_of(port)) {
        notices.push_back(*rival);
    }
    // What a guest is not offered is of no interest while none can be served.
    std::ranges::copy_if(port.parsed->notices, std::back_inserter(notices),
                         [&port](const Error &notice) {
                             return port.is_served() || notice.reason != Reason::offloads_withheld;
                         });
    if (port.tap.is_present() && !port.tap.multi_queue && port.wanted->engine.max_queues > 1) {
        notices.push_back(
            {Reason::single_queue_netdev,
             "netdev " + port.name +
                 " was made for one queue pair, so all that the guest receives comes "
                 "by its first one: delete the port and, once its netdev is gone, add it "
                 "again"});
    }
    if (const auto differs = device_differs(port)) {
        notices.push_back(*differs);
    }
    for (const std::string &note : port.vdpa.notes) {
        notices.push_back({Reason::guest_differs, note});
    }
    return notices;
}

void Reconciler::retry_later(Port &port, const Error &error) {
    retry_later(port, state_of_error(error) == State::invalid ? cheap_retry : env_.backoff.last);
}

void Reconciler::retry_later(Port &port, std::chrono::milliseconds cap) {
    if (port.retry_armed && port.retry.expiry() <= std::chrono::steady_clock::now() + cap) {
        return;
    }
    retry_after(port, port.backoff.next(cap));
}

void Reconciler::retry_after(Port &port, std::chrono::milliseconds delay) {
    port.retry_armed = true;
    port.retry.expires_after(delay);
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
