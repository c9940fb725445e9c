// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/inventory_change.hpp"

#include <map>

namespace vdpa::agent::reconcile {

namespace {

using host::Function;
using host::Inventory;
using host::Pf;
using Things = std::set<std::string>;

/* Calls `differs` with what is on one side only, or differs: before, after; null: not there. */
template <typename T, typename Key, typename Differs>
void compare(const std::vector<T> &before, const std::vector<T> &after, Key key, Differs differs) {
    std::map<decltype(key(before.front())), const T *> by_key;
    for (const T &each : before) {
        by_key[key(each)] = &each;
    }
    for (const T &each : after) {
        const auto found = by_key.find(key(each));
        if (found == by_key.end()) {
            differs(static_cast<const T *>(nullptr), &each);
            continue;
        }
        if (!(*found->second == each)) {
            differs(found->second, &each);
        }
        by_key.erase(found);
    }
    for (const auto &[gone, each] : by_key) {
        differs(each, static_cast<const T *>(nullptr));
    }
}

void add_function(Things &things, const Function *function) {
    if (!function) {
        return;
    }
    things.insert(function_key(function->id));
    if (function->device) {
        things.insert(device_key(*function->device));
    }
    if (function->representor) {
        things.insert(netdev_key(function->representor->netdev));
    }
}

bool same_apart_from_functions(const Pf &a, const Pf &b) {
    return a.number == b.number && a.driver == b.driver && a.total_vfs == b.total_vfs &&
           a.num_vfs == b.num_vfs && a.eswitch == b.eswitch && a.eswitch_error == b.eswitch_error &&
           a.switch_id == b.switch_id && a.uplinks == b.uplinks;
}

void compare_pfs(Things &things, const Pf *before, const Pf *after) {
    static const std::vector<Function> none;
    if (!before || !after || !same_apart_from_functions(*before, *after)) {
        const host::Handle &handle = (before ? before : after)->handle;
        things.insert(pf_key(handle));
        things.insert(bus_key(handle));
    }
    compare(
        before ? before->functions : none, after ? after->functions : none,
        [](const Function &function) { return function.id; },
        [&things](const Function *a, const Function *b) {
            add_function(things, a);
            add_function(things, b);
        });
}

}  // namespace

std::string pf_key(const host::Handle &pf) {
    return "pf " + pf.text();
}

std::string function_key(const host::FunctionId &function) {
    return (function.flavour == host::Flavour::vf ? "vf " : "sf ") +
           std::to_string(function.number);
}

std::string device_key(const host::Handle &device) {
    return "device " + device.text();
}

std::string bus_key(const host::Handle &device) {
    return "bus " + device.bus + "/" + device.device.substr(0, device.device.rfind(':'));
}

std::string netdev_key(const std::string &representor) {
    return "netdev " + representor;
}

std::string vdpa_key(const std::string &name_or_path) {
    return "vdpa " + name_or_path;
}

std::string management_key(const std::string &name) {
    return "management " + name;
}

std::string kernel_vdpa_key() {
    return "kernel vdpa";
}

Things changes_of(const Inventory &before, const Inventory &after) {
    Things things;
    compare(
        before.pfs, after.pfs, [](const Pf &pf) { return pf.handle; },
        [&things](const Pf *a, const Pf *b) { compare_pfs(things, a, b); });
    compare(
        before.vdpa_devices, after.vdpa_devices,
        [](const host::VdpaDevice &device) { return device.name; },
        [&things](const host::VdpaDevice *a, const host::VdpaDevice *b) {
            for (const host::VdpaDevice *device : {a, b}) {
                if (device) {
                    things.insert(vdpa_key(device->name));
                    things.insert(vdpa_key(device->path.value_or(device->name)));
                }
            }
        });
    compare(
        before.vdpa_managements, after.vdpa_managements,
        [](const host::VdpaManagement &management) { return management.name; },
        [&things](const host::VdpaManagement *a, const host::VdpaManagement *b) {
            things.insert(management_key((a ? a : b)->name));
        });
    compare(
        before.others, after.others, [](const host::Handle &handle) { return handle; },
        [&things](const host::Handle *a, const host::Handle *b) {
            things.insert(device_key(*(a ? a : b)));
        });
    if (before.has_vdpa != after.has_vdpa || before.has_vhost_vdpa != after.has_vhost_vdpa) {
        things.insert(kernel_vdpa_key());
    }
    return things;
}

}  // namespace vdpa::agent::reconcile
