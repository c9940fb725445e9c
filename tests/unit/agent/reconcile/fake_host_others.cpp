// SPDX-License-Identifier: Apache-2.0
// What others do to the host: the kernel, its operator, ovs-vswitchd.
#include <algorithm>

#include "tests/unit/agent/reconcile/fake_host.hpp"

namespace vdpa::agent::reconcile {

namespace {

using host::Function;
using host::FunctionId;
using host::Handle;
using host::Pf;

bool is_pci(const Pf &pf) {
    return pf.handle.bus == "pci";
}

}  // namespace

Pf &FakeHost::add_pf(uint32_t vfs) {
    Pf pf;
    pf.handle = {"pci", "0000:43:00.0"};
    pf.driver = "mlx5_core";
    pf.total_vfs = 16;
    pf.num_vfs = vfs;
    pf.eswitch = Pf::Eswitch::switchdev;
    pf.switch_id = "aa";
    pf.uplinks = {{next_ifindex_++, "p0", true}};
    for (uint32_t i = 0; i < vfs; i++) {
        pf.functions.push_back(make_vf(pf, i));
    }
    inventory.pfs.push_back(pf);
    publish();
    return inventory.pfs.back();
}

Pf &FakeHost::add_netdevsim() {
    Pf pf;
    pf.handle = {"netdevsim", "netdevsim10"};
    pf.driver = "netdevsim";
    pf.total_vfs = host::unlimited_vfs;
    pf.eswitch = Pf::Eswitch::legacy;
    pf.uplinks = {{next_ifindex_++, "sim0", true}};
    inventory.pfs.insert(inventory.pfs.begin(), pf);
    publish();
    return inventory.pfs.front();
}

Function FakeHost::make_vf(const Pf &pf, uint32_t number) {
    Function function;
    function.id = FunctionId{pf.handle, std::nullopt, pf.number, host::Flavour::vf, number};
    if (is_pci(pf)) {
        function.device = Handle{"pci", "0000:43:00." + std::to_string(number + 2)};
        function.driver = "mlx5_core";
    }
    function.mac = "02:00:00:00:00:0" + std::to_string(number % 10);
    if (pf.eswitch == Pf::Eswitch::switchdev) {
        host::Representor representor;
        representor.ifindex = next_ifindex_++;
        representor.netdev = "eth" + std::to_string(number);
        representor.devlink = pf.handle;
        representor.devlink_port = number + 1;
        function.representor = representor;
    }
    return function;
}

void FakeHost::add_management(const std::string &name) {
    change([this, &name] {
        inventory.has_vdpa = inventory.has_vhost_vdpa = true;
        inventory.vdpa_managements.push_back({name, true, 16});
    });
}

void FakeHost::add_vdpa(const std::string &name, const std::string &path) {
    change([this, &name, &path] {
        inventory.has_vdpa = inventory.has_vhost_vdpa = true;
        host::VdpaDevice device;
        device.name = name;
        device.management = "vdpasim_net";
        device.path = path;
        put(device);
    });
}

void FakeHost::put(const host::VdpaDevice &device) {
    inventory.vdpa_devices.push_back(device);
    std::sort(inventory.vdpa_devices.begin(), inventory.vdpa_devices.end(),
              [](const auto &a, const auto &b) { return a.name < b.name; });
}

void FakeHost::remove_vdpa_by_hand(const std::string &name) {
    change([this, &name] {
        std::erase_if(inventory.vdpa_devices,
                      [&name](const auto &device) { return device.name == name; });
    });
}

void FakeHost::take_vf(uint32_t number) {
    change([this, number] {
        std::erase_if(inventory.pfs.front().functions,
                      [number](const Function &each) { return each.id.number == number; });
    });
}

void FakeHost::put_vf(uint32_t number) {
    change([this, number] {
        Pf &pf = inventory.pfs.front();
        pf.functions.push_back(make_vf(pf, number));
        std::sort(pf.functions.begin(), pf.functions.end(),
                  [](const Function &a, const Function &b) { return a.id < b.id; });
    });
}

Function &FakeHost::vf(uint32_t number) {
    auto &functions = inventory.pfs.front().functions;
    return *std::find_if(functions.begin(), functions.end(),
                         [number](const Function &each) { return each.id.number == number; });
}

std::string FakeHost::netdev(uint32_t number) {
    for (const Function &function : inventory.pfs.front().functions) {
        if (function.id.number == number && function.representor) {
            return function.representor->netdev;
        }
    }
    return "";
}

Function *FakeHost::find(const FunctionId &id) {
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.id == id) {
                return &function;
            }
        }
    }
    return nullptr;
}

host::Representor *FakeHost::find_netdev(const std::string &name) {
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.representor && function.representor->netdev == name) {
                return &*function.representor;
            }
        }
    }
    return nullptr;
}

void FakeHost::switch_looks() {
    if (switch_stopped) {
        return;
    }
    constexpr int ovs_system = 3;
    const host::Inventory before = inventory;
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.representor) {
                host::Representor &representor = *function.representor;
                representor.master = has_row(representor.netdev) && representor.up
                                         ? std::optional(ovs_system)
                                         : std::nullopt;
            }
        }
    }
    if (auto_publish && !(inventory == before)) {
        publish();
    }
}

}  // namespace vdpa::agent::reconcile
