// SPDX-License-Identifier: Apache-2.0
// The condition that the TAP of an emulated VF is there.
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;

const log::Module module("port");
log::RateLimit limit;

}  // namespace

std::optional<Verdict> Reconciler::check_tap(Port &port) {
    const bool engine_ready = port.engine && engines_[*port.engine].ready;
    const host::TapSpec spec{.owner = engine_ready
                                          ? std::optional<uid_t>(engines_[*port.engine].info.uid)
                                          : port.tap.spec.owner,
                             .multi_queue = port.wanted->engine.max_queues > 1};
    if (port.tap.state == Asset::State::present && spec.owner == port.tap.spec.owner) {
        return std::nullopt;
    }
    if (port.tap.state != Asset::State::asked && port.tap.state != Asset::State::removing) {
        if (port.tap.error && !port.retrying) {
            retry_later(port, *port.tap.error);
        } else {
            serve_ahead_of_netdev(port);
            if (!waits_for_socket(port)) {
                port.tap.spec = spec;
                ask_for_tap(port);
            }
        }
    }
    if (port.tap.error && port.is_ahead_of_netdev()) {
        release_engine(port);
    }
    // While it is tried again, the reason stays.
    return port.tap.error ? unmet(Condition::netdev, *port.tap.error)
                          : under_way(Condition::netdev);
}

/* Making the netdev takes the processor from who serves the socket, for which somebody waits. But
 * an engine may be at work on another port's device for seconds, and the switch needs the netdev
 * alone. */
bool Reconciler::waits_for_socket(Port &port) {
    const auto now = std::chrono::steady_clock::now();
    const auto until = port.tap.patient_until;
    if (!port.is_ahead_of_netdev() || !port.is_being_told() || now >= until) {
        return false;
    }
    if (!port.retry_armed || port.retry.expiry() > until) {
        retry_after(port, std::chrono::ceil<std::chrono::milliseconds>(until - now));
    }
    return true;
}

void Reconciler::ask_for_tap(Port &port) {
    port.tap.state = Asset::State::asked;
    port.tap.heard.reset();
    port.tap.was_open_in_switch = port.row->ofport.value_or(0) > 0;
    env_.netdevs.ensure_tap(
        port.name, port.tap.spec, [this, name = port.name](const Expected<host::TapState> &result) {
            Port &answered = *ports_.at(name);  // is not forgotten while it is asked for
            take_tap(answered, result);
            wake(name);
        });
}

void Reconciler::take_tap(Port &port, const Expected<host::TapState> &result) {
    const auto heard = std::exchange(port.tap.heard, std::nullopt);
    if (!result) {
        port.tap.state = Asset::State::unknown;
        port.tap.error = result.error();
        if (heard && result.error().reason == Reason::name_taken) {
            port.tap.error.reset();  // the name may have become free since
        }
        return;
    }
    port.tap.error.reset();
    if (result->replaced && port.tap.was_open_in_switch && port.row &&
        port.row->datapath_type == "netdev") {
        // lib/netdev-linux.c reads by a socket that is bound to the index of the one before.
        module.warn(limit, port.name +
                               ": the netdev was deleted and is made again; the userspace "
                               "datapath of ovs-vswitchd takes no frame from it unless the port is "
                               "deleted and, once its netdev is gone, added again, or ovs-vswitchd "
                               "restarted");
    }
    port.tap.ifindex = result->ifindex;
    port.tap.multi_queue = result->multi_queue;
    port.reattach = port.reattach || result->created;
    // What was heard may be older than the answer, or newer: that is found out by asking again.
    const bool is_sure = !heard || *heard == result->ifindex;
    port.tap.state = is_sure ? Asset::State::present : Asset::State::unknown;
}

void Reconciler::netdev_changed(const std::string &name, std::optional<int> ifindex,
                                bool is_set_up) {
    const auto found = ports_.find(name);
    if (found == ports_.end()) {
        return;
    }
    Port &changed = *found->second;
    if (changed.tap.is_absent() && !changed.wants_tap()) {
        const auto &error = changed.representor.error;
        if (error && error->reason == Reason::name_taken) {
            changed.retry_due = true;  // the name may have become free
            wake(name);
        }
        return;
    }
    if (changed.tap.state == Asset::State::asked || changed.tap.state == Asset::State::removing) {
        // Perhaps our own doing; the answer comes. What is not set up has to be asked for again.
        changed.tap.heard = is_set_up ? ifindex : std::nullopt;
        return;
    }
    if ((changed.tap.state == Asset::State::present && ifindex == changed.tap.ifindex &&
         is_set_up) ||
        (changed.tap.state == Asset::State::absent && !ifindex)) {
        return;
    }
    // An attempt that fails leaves such news behind itself, which must not be what has it repeated.
    if (changed.tap.error && changed.tap.error->reason != Reason::name_taken) {
        return;
    }
    changed.tap.state = Asset::State::unknown;
    changed.tap.error.reset();
    wake(name);
}

}  // namespace vdpa::agent::reconcile
