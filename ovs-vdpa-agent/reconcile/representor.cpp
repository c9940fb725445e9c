// SPDX-License-Identifier: Apache-2.0
// The condition that the netdev which stands for the port on the bridge is there: the representor,
// as this file has it, or the TAP of an emulated VF (tap.cpp).
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;

/* Whether the same is asked for. Which names are to be kept clear of, and what the MAC address is
 * already, differs from time to time. */
bool same_wish(host::RepresentorSpec a, host::RepresentorSpec b) {
    a.reserved_names.clear();
    b.reserved_names.clear();
    a.known_mac = b.known_mac;
    return a == b;
}

/* Whether what could not be done may be possible now. An attempt that fails leaves traces in the
 * inventory, which must not be what has it repeated. */
bool is_worth_a_try(const RepresentorAsset &asset, const Observed &now) {
    if (!asset.asked_at) {
        return true;
    }
    const bool waits_for_others = asset.error->reason == Reason::ovs_detach ||
                                  asset.error->reason == Reason::name_taken ||
                                  asset.error->reason == Reason::duplicate_device;
    return waits_for_others ? *asset.asked_at != now : asset.asked_at->ifindex != now.ifindex;
}

}  // namespace

std::optional<Verdict> Reconciler::check_netdev(Port &port) {
    if (port.wants_tap()) {
        return check_tap(port);
    }
    return port.is_adopted ? std::nullopt : check_representor(port);
}

std::optional<Verdict> Reconciler::check_representor(Port &port) {
    RepresentorAsset &asset = port.representor;
    const Plan &plan = *port.plan;
    // What somebody else uses is not set down.
    if (plan.problem && plan.problem->reason == Reason::device_busy && !port.is_served()) {
        return unmet(Condition::function, *plan.problem);
    }
    if (asset.is_present() && same_wish(asset.spec, plan.representor)) {
        if (plan.is_set_up) {
            asset.asked_at.reset();
            return std::nullopt;
        }
        if (asset.asked_at == plan.observed && !(port.retrying && asset.is_refreshed)) {
            wait_for_news(port);
            return std::nullopt;
        }
    }
    if (!asset.is_busy()) {
        if (asset.error && !port.retrying && !is_worth_a_try(asset, plan.observed)) {
            retry_later(port, *asset.error);
        } else {
            ask_for_representor(port);
        }
    }
    if (asset.error) {
        return unmet(Condition::netdev, *asset.error);
    }
    return asset.was_made && plan.is_set_up ? std::nullopt
                                            : std::optional(under_way(Condition::netdev));
}

/* The inventory does not know of our doings yet. If it has not learnt of them after a while, it is
 * read anew; and if they still are not there then, somebody has undone them at once. */
void Reconciler::wait_for_news(Port &port) {
    if (port.retrying) {
        port.representor.is_refreshed = true;
        env_.refresh(port.plan->function.pf, [] {});
    }
    retry_later(port, env_.backoff.last);
}

void Reconciler::ask_for_representor(Port &port) {
    RepresentorAsset &asset = port.representor;
    asset.state = Asset::State::asked;
    asset.function = port.plan->function;
    asset.pfs = pfs_of(*port.plan);
    asset.request = port.wanted->device;
    asset.spec = port.plan->representor;
    asset.asked_at = port.plan->observed;
    asset.is_refreshed = false;
    update_holds(port);
    const std::string &netdev = asset.asked_at->netdev;
    if (asset.spec.keep_netdev || netdev == port.name || !asset.spec.reserved_names.empty()) {
        ensure_representor(port);
        return;
    }
    // The netdev may be a port of its own, which has nothing to do with us.
    env_.has_interface(netdev, [this, name = port.name, netdev](bool is_port) {
        Port &answered = *ports_.at(name);  // is not forgotten while it is asked for
        if (is_port) {
            answered.representor.spec.reserved_names.push_back(netdev);
        }
        ensure_representor(answered);
    });
}

void Reconciler::ensure_representor(Port &port) {
    env_.representors.ensure_representor(
        port.name, port.representor.spec,
        [this, name = port.name](const Expected<host::RepresentorState> &result) {
            Port &answered = *ports_.at(name);  // is not forgotten while it is asked for
            RepresentorAsset &made = answered.representor;
            made.state = result ? Asset::State::present : Asset::State::unknown;
            made.was_made = result.has_value();
            made.error = result ? std::nullopt : std::optional(result.error());
            wake(name);
        });
}

}  // namespace vdpa::agent::reconcile
