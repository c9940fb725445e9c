// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/plan.hpp"

#include "ovs-vdpa-agent/host/usable.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::DeviceKind;

void plan_dpdk(Plan &plan, const host::Pf &owner, const host::Function &function,
               const std::string &arguments) {
    plan.problem = host::dpdk_problem(owner, function);
    if (function.device) {
        const std::string prefix = function.device->bus == "auxiliary" ? "auxiliary:" : "";
        plan.device =
            schema::DeviceSpec{DeviceKind::dpdk, prefix + function.device->device +
                                                     (arguments.empty() ? "" : "," + arguments)};
    }
}

void plan_kernel(Plan &plan, const host::Inventory &inventory, const host::VdpaDevice &device) {
    plan.vdpa_name = device.name;
    plan.problem = host::vdpa_problem(inventory, device);
    if (device.path) {
        plan.device = schema::DeviceSpec{DeviceKind::kernel, *device.path};
    }
}

void plan_managed(Plan &plan, const config::PortConfig &config, const host::Target &target) {
    plan.vdpa_name = config.name;
    plan.made = host::VdpaSpec{config.name, target.management->name, config.mac, config.mtu,
                               static_cast<uint16_t>(config.engine.max_queues)};
    if (target.vdpa) {
        plan.made_path = target.vdpa->path;
    }
}

void plan_device(Plan &plan, const host::Inventory &inventory, const config::PortConfig &config,
                 const host::Target &target) {
    if (target.management) {
        plan_managed(plan, config, target);
    } else if (target.vdpa) {
        plan_kernel(plan, inventory, *target.vdpa);
    } else {
        const auto *named = std::get_if<host::DpdkDevice>(&config.device->device);
        plan_dpdk(plan, *target.pf, *target.function, named ? named->arguments : "");
    }
}

void plan_representor(Plan &plan, const config::PortConfig &config, const host::Pf &pf,
                      const host::Function &function,
                      const std::function<bool(const std::string &)> &is_row) {
    host::RepresentorSpec &spec = plan.representor;
    spec.function = function.id;
    spec.mac = config.switch_sets_mac ? "" : config.mac;
    spec.known_mac = function.mac_is_unset ? host::no_mac : function.mac;
    spec.mtu = config.mtu;
    spec.function_netdevs = function.netdevs;
    spec.keep_netdev = config.device->is_dpdk_port;
    if (!pf.uplinks.empty()) {
        spec.pf_netdev = pf.uplinks.front().netdev;
        spec.pf_ifindex = pf.uplinks.front().ifindex;
    }
    if (function.representor) {
        const host::Representor &found = *function.representor;
        spec.ifindex = found.ifindex;
        spec.devlink = found.devlink;
        spec.devlink_port = found.devlink_port;
        spec.has_function_mac = found.has_function_mac;
        if (found.netdev != config.name && is_row(found.netdev)) {
            spec.reserved_names.push_back(found.netdev);
        }
        plan.observed.ifindex = found.ifindex;
        plan.observed.netdev = found.netdev;
        plan.observed.up = found.up;
        plan.observed.attached = found.master.has_value();
    }
    plan.observed.mac = function.mac;
    plan.observed.function_netdev_up = function.netdev_up;
    plan.is_set_up =
        (spec.keep_netdev || (plan.observed.netdev == config.name && plan.observed.up)) &&
        (spec.mac.empty() || function.mac.empty() || function.mac == spec.mac) &&
        !function.netdev_up;
}

}  // namespace

Expected<Plan> make_plan(const host::Inventory &inventory, const config::PortConfig &config,
                         const std::function<bool(const std::string &)> &is_row) {
    const auto target = host::resolve(inventory, *config.device, config.name);
    if (!target) {
        return tl::make_unexpected(target.error());
    }
    const host::Function &function = *target->function;
    Plan plan;
    plan.function = function.id;
    plan.function_device = function.device;
    plan_representor(plan, config, *target->pf, function, is_row);
    plan_device(plan, inventory, config, *target);
    // What somebody else uses comes first: it is not touched.
    if (const auto busy = host::busy_problem(function)) {
        plan.problem = busy;
    }
    return plan;
}

std::set<host::Handle> pfs_of(const Plan &plan) {
    std::set<host::Handle> pfs{plan.function.pf};
    if (plan.representor.ifindex != 0) {
        pfs.insert(plan.representor.devlink);
    }
    return pfs;
}

}  // namespace vdpa::agent::reconcile
