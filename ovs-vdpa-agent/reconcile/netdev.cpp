// SPDX-License-Identifier: Apache-2.0
// The condition that the port's netdev is there.
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/reconcile/verdict.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;
using schema::State;

const log::Module module("port");
log::RateLimit limit;

}  // namespace

std::optional<Verdict> Reconciler::check_netdev(Port &port) {
    const bool engine_ready = port.engine && engines_[*port.engine].ready;
    const host::TapSpec spec{.owner = engine_ready
                                          ? std::optional<uid_t>(engines_[*port.engine].info.uid)
                                          : port.netdev_spec.owner,
                             .multi_queue = port.wanted->max_queues > 1};
    if (port.netdev == Port::Netdev::present && spec.owner == port.netdev_spec.owner) {
        return std::nullopt;
    }
    if (port.netdev != Port::Netdev::asked && port.netdev != Port::Netdev::removing) {
        if (port.netdev_error && !port.retrying) {
            retry_later(port, *port.netdev_error);
        } else {
            port.netdev_spec = spec;
            ask_for_netdev(port);
        }
    }
    // While it is tried again, the reason stays.
    return port.netdev_error ? Verdict{state_of_error(*port.netdev_error), port.netdev_error}
                             : Verdict{State::provisioning, std::nullopt};
}

void Reconciler::ask_for_netdev(Port &port) {
    port.netdev = Port::Netdev::asked;
    port.heard.reset();
    port.was_open_in_switch = port.row->ofport.value_or(0) > 0;
    env_.netdevs.ensure_tap(port.name, port.netdev_spec,
                            [this, name = port.name](const Expected<host::TapState> &result) {
                                Port &answered =
                                    *ports_.at(name);  // is not forgotten while it is asked for
                                take_netdev(answered, result);
                                wake(name);
                            });
}

void Reconciler::take_netdev(Port &port, const Expected<host::TapState> &result) {
    const auto heard = std::exchange(port.heard, std::nullopt);
    if (!result) {
        port.netdev = Port::Netdev::unknown;
        port.netdev_error = result.error();
        if (heard && result.error().reason == Reason::name_taken) {
            port.netdev_error.reset();  // the name may have become free since
        }
        return;
    }
    port.netdev_error.reset();
    if (result->replaced && port.was_open_in_switch && port.row &&
        port.row->datapath_type == "netdev") {
        // lib/netdev-linux.c reads by a socket that is bound to the index of the one before.
        module.warn(limit, port.name +
                               ": the netdev was deleted and is made again; the userspace "
                               "datapath of ovs-vswitchd takes no frame from it unless the port is "
                               "deleted and, once its netdev is gone, added again, or ovs-vswitchd "
                               "restarted");
    }
    port.ifindex = result->ifindex;
    port.multi_queue = result->multi_queue;
    port.reattach = port.reattach || result->created;
    // What was heard may be older than the answer, or newer: that is found out by asking again.
    const bool is_sure = !heard || *heard == result->ifindex;
    port.netdev = is_sure ? Port::Netdev::present : Port::Netdev::unknown;
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

}  // namespace vdpa::agent::reconcile
