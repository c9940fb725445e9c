// SPDX-License-Identifier: Apache-2.0
// What a port has that belongs to something that is not wanted any more, or that has vanished. It
// is let go of before anything is taken instead, in the order of a release.
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::DeviceKind;
using schema::DeviceSpec;

bool is_representor_stale(const Port &port) {
    const RepresentorAsset &asset = port.representor;
    if (port.wants_tap()) {
        return true;
    }
    if (port.plan) {
        return asset.function && *asset.function != port.plan->function;
    }
    // What cannot be found may be what was there before.
    return asset.request && asset.request != port.wanted->device;
}

/* `device`: that of the vDPA device's name on this host; null: there is none. */
bool is_vdpa_stale(const Port &port, const host::VdpaDevice *device) {
    if (port.plan) {
        return !port.plan->made || (device && device->management != port.plan->made->management);
    }
    return !port.wanted->device ||
           !may_ask_for(port.wanted->device, {DeviceKind::kernel, port.vdpa.path});
}

}  // namespace

/* The device that an engine is to have open; none: not known yet. */
std::optional<DeviceSpec> Reconciler::wanted_device(const Port &port) const {
    if (!port.wanted->device) {
        return port.wanted->engine.device;
    }
    if (!port.plan || !port.plan->made) {
        return port.plan ? port.plan->device : std::nullopt;
    }
    if (port.vdpa.is_present()) {
        return DeviceSpec{DeviceKind::kernel, port.vdpa.path};
    }
    return std::nullopt;
}

bool Reconciler::is_engine_stale(const Port &port) const {
    const auto open = port.engine_device();
    if (!open) {
        return false;
    }
    const auto wanted = wanted_device(port);
    if (wanted ? *wanted != *open : !may_ask_for(port.wanted->device, *open)) {
        return true;
    }
    const bool is_just_made =
        port.vdpa.is_present() && !port.vdpa.observed && open->name == port.vdpa.path;
    return inventory_ && !is_just_made && !is_there(*inventory_, *open);
}

bool Reconciler::drop_stale(Port &port) {
    if (is_engine_stale(port) && !release_engine(port)) {
        return false;
    }
    if (port.is_adopted) {
        return true;
    }
    const auto *made = inventory_ ? inventory_->vdpa_device(port.name) : nullptr;
    if (!port.vdpa.is_absent() && is_vdpa_stale(port, made) && !release_vdpa(port)) {
        return false;
    }
    if (!port.representor.is_absent() && is_representor_stale(port) && !release_representor(port)) {
        return false;
    }
    return port.tap.is_absent() || port.wants_tap() || release_tap(port);
}

std::optional<Verdict> Reconciler::check_stale(Port &port) {
    if (drop_stale(port)) {
        return std::nullopt;
    }
    return port.release_error ? unmet(Condition::netdev, *port.release_error)
                              : under_way(Condition::netdev);
}

}  // namespace vdpa::agent::reconcile
