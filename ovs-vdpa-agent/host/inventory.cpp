// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/inventory.hpp"

#include <algorithm>

namespace vdpa::agent::host {

namespace {

template <typename T, typename Key, typename Projection>
const T *find_sorted(const std::vector<T> &values, const Key &key, Projection projection) {
    const auto found = std::ranges::lower_bound(values, key, {}, projection);
    return found != values.end() && std::invoke(projection, *found) == key ? &*found : nullptr;
}

template <typename Predicate>
const Function *find_function(const std::vector<Pf> &pfs, Predicate predicate) {
    for (const Pf &pf : pfs) {
        const auto found = std::ranges::find_if(pf.functions, predicate);
        if (found != pf.functions.end()) {
            return &*found;
        }
    }
    return nullptr;
}

}  // namespace

bool are_siblings(const Pf &a, const Pf &b) {
    const auto slot = [](const Handle &handle) {
        return handle.device.substr(0, handle.device.rfind('.'));
    };
    const bool same_slot =
        a.handle.bus == "pci" && b.handle.bus == "pci" && slot(a.handle) == slot(b.handle);
    return same_slot || (!a.switch_id.empty() && a.switch_id == b.switch_id);
}

const Pf *Inventory::pf(const Handle &handle) const {
    return find_sorted(pfs, handle, &Pf::handle);
}

const Function *Inventory::function(const FunctionId &id) const {
    const Pf *const named = pf(id.pf);
    if (!named) {
        return nullptr;
    }
    FunctionId full = id;
    full.pf_number = id.pf_number.value_or(named->number);
    if (const Function *found = find_sorted(named->functions, full, &Function::id)) {
        return found;
    }
    if (id.controller) {
        return nullptr;
    }
    for (const Pf &other : pfs) {
        if (other.number == *full.pf_number && are_siblings(other, *named)) {
            full.pf = other.handle;
            if (const Function *found = find_sorted(other.functions, full, &Function::id)) {
                return found;
            }
        }
    }
    return nullptr;
}

const Function *Inventory::function_with_device(const Handle &device) const {
    return find_function(pfs,
                         [&device](const Function &function) { return function.device == device; });
}

const Function *Inventory::function_with_representor(const std::string &netdev) const {
    return find_function(pfs, [&netdev](const Function &function) {
        return function.representor && function.representor->netdev == netdev;
    });
}

const VdpaDevice *Inventory::vdpa_device(const std::string &name) const {
    return find_sorted(vdpa_devices, name, &VdpaDevice::name);
}

const VdpaManagement *Inventory::vdpa_management(const std::string &name) const {
    return find_sorted(vdpa_managements, name, &VdpaManagement::name);
}

}  // namespace vdpa::agent::host
