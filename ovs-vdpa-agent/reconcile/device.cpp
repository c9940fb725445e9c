// SPDX-License-Identifier: Apache-2.0
// The condition that the device can serve queues, and the kernel vDPA devices that are made for it.
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;

/* Whether the device has to be looked at again to be as asked for. ovs-vswitchd may have told the
 * MTU after it was made: what came of that says the engine. */
bool is_other_wish(const host::VdpaSpec &made, host::VdpaSpec wanted) {
    if (!made.mtu) {
        wanted.mtu.reset();
    }
    return made != wanted;
}

}  // namespace

std::optional<Verdict> Reconciler::check_device(Port &port) {
    if (!port.wanted->device) {
        const schema::DeviceSpec &device = port.wanted->engine.device;
        if (inventory_ && !is_there(*inventory_, device)) {
            return unmet(Condition::function, {Reason::device_missing, device.name + ": is gone"});
        }
        port.spec = port.wanted->engine;
        return std::nullopt;
    }
    const Plan &plan = *port.plan;
    // What serves, serves.
    const bool serves =
        port.is_served() && plan.device && port.status->served->device == *plan.device;
    if (plan.problem && !serves) {
        // VFs are without a driver while their PF is being prepared.
        const auto of_pf = pfs_.problem(plan.function.pf);
        const bool is_passing = plan.problem->reason == Reason::driver_mismatch && of_pf &&
                                of_pf->reason == Reason::pf_preparing;
        return unmet(Condition::device, is_passing ? *of_pf : *plan.problem);
    }
    if (plan.made) {
        if (auto verdict = check_vdpa(port)) {
            return verdict;
        }
    }
    port.spec = port.wanted->engine;
    port.spec->device = *wanted_device(port);
    return std::nullopt;
}

std::optional<Verdict> Reconciler::check_vdpa(Port &port) {
    VdpaAsset &asset = port.vdpa;
    const Plan &plan = *port.plan;
    if (asset.is_present() && !is_other_wish(asset.spec, *plan.made)) {
        if (plan.made_path) {
            asset.observed = true;
            asset.path = *plan.made_path;
        }
        if (plan.made_path || !asset.observed) {
            return std::nullopt;
        }
        asset.state = Asset::State::unknown;  // somebody has removed it
        asset.observed = false;
    }
    if (!asset.is_busy()) {
        if (asset.error && !port.retrying) {
            retry_later(port, *asset.error);
        } else if (!waits_for_mtu(port)) {
            ask_for_vdpa(port);
        }
    }
    return asset.error ? unmet(Condition::device, *asset.error) : under_way(Condition::device);
}

/* The MTU can only be given to a device when it is made, and ovs-vswitchd tells it when it has
 * opened the port's netdev, mostly at once. */
bool Reconciler::waits_for_mtu(Port &port) {
    VdpaAsset &asset = port.vdpa;
    if (!asset.is_absent() || port.wanted->mtu || port.row->bridge.empty()) {
        return false;
    }
    const auto now = std::chrono::steady_clock::now();
    asset.patient_until = asset.patient_until.value_or(now + env_.mtu_patience);
    if (now >= *asset.patient_until) {
        return false;
    }
    retry_later(port, env_.mtu_patience);
    return true;
}

void Reconciler::ask_for_vdpa(Port &port) {
    port.vdpa.state = Asset::State::asked;
    port.vdpa.spec = *port.plan->made;
    env_.vdpas.ensure_vdpa(
        port.vdpa.spec, [this, name = port.name](const Expected<host::VdpaService::Made> &result) {
            Port &answered = *ports_.at(name);  // is not forgotten while it is asked for
            VdpaAsset &made = answered.vdpa;
            if (result) {
                made.state = Asset::State::present;
                made.error.reset();
                made.path = result->path;
                made.notes = result->notes;
            } else {
                made.state = Asset::State::unknown;
                made.error = result.error();
            }
            wake(name);
        });
}

}  // namespace vdpa::agent::reconcile
