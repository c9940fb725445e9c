// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/usable.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

/* The kernel driver that DPDK's vDPA driver of such a device works on: RTE_PMD_REGISTER_KMOD_DEP in
 * DPDK 22.11's drivers/vdpa is "* ib_uverbs & mlx5_core & mlx5_ib" for mlx5, and "* vfio-pci" for
 * ifc and sfc. Which of them it is tells the driver of the PF: a VF that is bound to the wrong one
 * does not. */
const char *driver_for_dpdk(const Pf &owner, const Function &function) {
    const bool is_mlx5 = owner.driver == "mlx5_core" || function.device->bus == "auxiliary";
    return is_mlx5 ? "mlx5_core" : "vfio-pci";
}

std::string name_of(const Function &function) {
    return function.device ? function.device->label() : function.id.text();
}

}  // namespace

std::optional<Error> dpdk_problem(const Pf &owner, const Function &function) {
    if (!function.device) {
        return Error{Reason::no_device,
                     name_of(function) +
                         ": is no device of this host that DPDK could drive: name the device that "
                         "is to serve the queues by vdpa-accelerator-devargs"};
    }
    const std::string needed = driver_for_dpdk(owner, function);
    // An SF is bound to a driver of the auxiliary bus, whose name begins with that of the module.
    const bool is_auxiliary = function.device->bus == "auxiliary";
    if (is_auxiliary ? function.driver.starts_with(needed) : function.driver == needed) {
        return std::nullopt;
    }
    return Error{
        Reason::driver_mismatch,
        name_of(function) + ": is bound to " +
            (function.driver.empty() ? "no driver" : "driver " + function.driver) +
            ", and DPDK needs it bound to " + needed +
            (is_auxiliary ? ""
                          : ": driverctl set-override " + function.device->device + " " + needed)};
}

std::optional<Error> driver_problem(const Pf &pf) {
    if (!pf.driver.empty()) {
        return std::nullopt;
    }
    const std::string remedy =
        pf.handle.bus == "pci"
            ? "load the module that `lspci -k -s " + pf.handle.device +
                  "` names, or give it back to its driver: driverctl unset-override " +
                  pf.handle.device
            : "load the module of its driver";
    return Error{Reason::pf_missing,
                 pf.handle.label() + ": no driver is bound to the PF: " + remedy};
}

std::optional<Error> eswitch_problem(const Pf &pf) {
    if (pf.eswitch != Pf::Eswitch::unread) {
        return std::nullopt;
    }
    return Error{Reason::eswitch_unread,
                 pf.handle.label() +
                     ": the mode of its eswitch cannot be read: " + pf.eswitch_error +
                     ". It is asked again, every 30 s at least; see `devlink dev eswitch show " +
                     pf.handle.text() + "` and the kernel's log"};
}

std::optional<Error> busy_problem(const Function &function) {
    if (!function.netdev_claimed) {
        return std::nullopt;
    }
    std::string names;
    for (const std::string &name : function.netdevs) {
        names += (names.empty() ? "" : ", ") + name;
    }
    return Error{Reason::device_busy, name_of(function) + ": its own netdev on this host (" +
                                          names +
                                          ") has an address or a master, so it is in use here: "
                                          "remove that, or name another VF"};
}

std::optional<Error> vhost_problem(const Inventory &inventory, const std::string &what) {
    if (inventory.has_vhost_vdpa) {
        return std::nullopt;
    }
    return Error{Reason::kernel_lacks,
                 what +
                     ": has no character device, because module vhost_vdpa is not loaded: "
                     "modprobe vhost_vdpa"};
}

std::optional<Error> vdpa_problem(const Inventory &inventory, const VdpaDevice &device) {
    if (device.path) {
        return std::nullopt;
    }
    if (auto problem = vhost_problem(inventory, "vDPA device " + device.name)) {
        return problem;
    }
    return Error{Reason::device_missing,
                 "vDPA device " + device.name +
                     ": is not bound to vhost_vdpa, so it has no character device: write its name "
                     "to /sys/bus/vdpa/drivers/vhost_vdpa/bind"};
}

}  // namespace vdpa::agent::host
