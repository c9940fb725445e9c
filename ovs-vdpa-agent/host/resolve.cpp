// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/usable.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

std::string quoted(const std::string &command) {
    return "`" + command + "`";
}

std::string see_pfs(const Pf &pf) {
    return "name the PF in Open_vSwitch other_config:vdpa-pfs to have it switched, or run " +
           quoted("devlink dev eswitch set " + pf.handle.text() + " mode switchdev");
}

tl::unexpected<Error> legacy(const Pf &pf) {
    return fail(Reason::pf_legacy, pf.handle.label() +
                                       ": its eswitch is in legacy mode, in which nothing has a "
                                       "representor; " +
                                       see_pfs(pf));
}

/* A device that is being reset has no driver, or a driver that has not finished, for a while. */
tl::unexpected<Error> without_eswitch(const Pf &pf) {
    if (auto problem = driver_problem(pf)) {
        return tl::make_unexpected(std::move(*problem));
    }
    const std::string name = pf.handle.label() + ": ";
    if (pf.uplinks.empty() && pf.is_network) {
        return fail(Reason::pf_missing, name + "the PF's driver " + pf.driver +
                                            " has made no netdev; see the kernel's log");
    }
    return fail(Reason::eswitch_unsupported,
                name + "the PF's driver " + pf.driver +
                    " has no eswitch that can be in switchdev mode, so its VFs have no "
                    "representors; use another NIC, or vdpa-sw=true without a device");
}

class Resolver {
  public:
    Resolver(const Inventory &inventory, const DeviceRequest &request)
        : inventory_(inventory), request_(request) {}

    Expected<Target> resolve(const std::string &interface) {
        if (auto found = find_device(); !found) {
            return tl::make_unexpected(found.error());
        }
        const Function *const by_device = target_.function;
        if (request_.representor) {
            const auto named = find_named(*request_.representor);
            if (!named) {
                return tl::make_unexpected(named.error());
            }
            if (by_device && by_device != *named) {
                return fail(Reason::device_mismatch, device_text() + " is " + by_device->id.text() +
                                                         ", but the row names the representor of " +
                                                         (*named)->id.text() +
                                                         ": remove one of the two keys");
            }
            target_.function = *named;
        } else if (!by_device) {
            target_.function = inventory_.function_with_representor(interface);
        }
        if (!target_.function) {
            return nothing_named(interface);
        }
        target_.pf = inventory_.pf(target_.function->id.pf);
        return check();
    }

  private:
    /* As the row writes it. */
    std::string device_text() const {
        if (const auto *dpdk = std::get_if<DpdkDevice>(&request_.device)) {
            return dpdk->device.bus == "auxiliary" ? "auxiliary:" + dpdk->device.device
                                                   : dpdk->device.label();
        }
        if (const auto *kernel = std::get_if<KernelDevice>(&request_.device)) {
            return kernel->path.empty() ? "vdpa:" + kernel->name : kernel->path;
        }
        if (const auto *managed = std::get_if<ManagedDevice>(&request_.device)) {
            return "vdpa:" + managed->management;
        }
        return "no device";
    }

    Expected<void> find_device() {
        if (const auto *dpdk = std::get_if<DpdkDevice>(&request_.device)) {
            return find_dpdk_device(dpdk->device);
        }
        if (std::holds_alternative<DerivedDevice>(request_.device)) {
            return {};
        }
        if (!inventory_.has_vdpa) {
            return fail(Reason::kernel_lacks,
                        device_text() +
                            ": the kernel has no vDPA; load its modules vdpa and "
                            "vhost_vdpa, or use a kernel that has them");
        }
        const auto *managed = std::get_if<ManagedDevice>(&request_.device);
        return managed ? find_management(managed->management)
                       : find_kernel_device(std::get<KernelDevice>(request_.device));
    }

    Expected<void> find_dpdk_device(const Handle &device) {
        target_.function = inventory_.function_with_device(device);
        if (target_.function) {
            return {};
        }
        if (inventory_.pf(device)) {
            return fail(Reason::not_a_vf, device_text() + ": is a PF; name one of its VFs or SFs");
        }
        if (std::ranges::find(inventory_.others, device) != inventory_.others.end()) {
            return fail(Reason::not_a_vf,
                        device_text() +
                            ": is neither a VF nor an SF of a PF of this host; for those see " +
                            quoted("ovs-appctl -t ovs-vdpa-agent vdpa/devices"));
        }
        return fail(Reason::device_missing,
                    device_text() + ": there is no VF or SF of that address" +
                        (device.bus == "auxiliary"
                             ? "; an SF gets its address when it is activated, see " +
                                   quoted("devlink port show")
                             : "; VFs are made by Open_vSwitch other_config:vdpa-pfs"));
    }

    /* Management devices are devices, too, except simulators'. */
    const Function *function_of(const std::string &management) const {
        const size_t slash = management.find('/');
        return slash == std::string::npos
                   ? nullptr
                   : inventory_.function_with_device(
                         {management.substr(0, slash), management.substr(slash + 1)});
    }

    Expected<void> find_management(const std::string &name) {
        target_.function = function_of(name);
        target_.management = inventory_.vdpa_management(name);
        if (!target_.management) {
            return fail(Reason::device_missing,
                        "vdpa:" + name + ": there is no such management device; " +
                            (target_.function ? "is the driver's vDPA module (for mlx5: "
                                                "mlx5_vdpa) loaded? See "
                                              : "see ") +
                            quoted("vdpa mgmtdev show"));
        }
        if (!target_.management->has_net) {
            return fail(Reason::not_a_vf,
                        "vdpa:" + name + ": that management device makes no network devices");
        }
        return {};
    }

    Expected<void> find_kernel_device(const KernelDevice &device) {
        // The name of a management device is the kernel's and stays; a device may be given it.
        if (!device.name.empty() && inventory_.vdpa_management(device.name)) {
            return find_management(device.name);
        }
        if (!device.name.empty()) {
            target_.vdpa = inventory_.vdpa_device(device.name);
        } else {
            const auto found =
                std::ranges::find(inventory_.vdpa_devices, device.path, &VdpaDevice::path);
            target_.vdpa = found == inventory_.vdpa_devices.end() ? nullptr : &*found;
        }
        if (!target_.vdpa) {
            // Without the driver no device has a path.
            auto problem =
                device.path.empty() ? std::nullopt : vhost_problem(inventory_, device_text());
            if (problem) {
                return tl::make_unexpected(std::move(*problem));
            }
            return fail(
                Reason::device_missing,
                device_text() + ": there is no such vDPA device; see " + quoted("vdpa dev show") +
                    (device.path.empty() ? ""
                                         : " and whether it is bound to the driver vhost_vdpa"));
        }
        target_.function = function_of(target_.vdpa->management);
        return {};
    }

    Expected<const Function *> find_named(const FunctionId &id) const {
        const Pf *const pf = inventory_.pf(id.pf);
        if (!pf) {
            return tl::make_unexpected(no_pf(id));
        }
        if (id.controller) {
            return tl::make_unexpected(external(id));
        }
        const Function *const function = inventory_.function(id);
        if (function) {
            return function;
        }
        if (pf->eswitch == Pf::Eswitch::legacy) {
            return legacy(*pf);
        }
        if (auto problem = eswitch_problem(*pf)) {
            return tl::make_unexpected(std::move(*problem));
        }
        if (pf->eswitch == Pf::Eswitch::unsupported && !request_.is_dpdk_port) {
            return without_eswitch(*pf);
        }
        const uint16_t pf_number = id.pf_number.value_or(pf->number);
        if (id.flavour == Flavour::sf) {
            return fail(
                Reason::device_missing,
                id.text() + ": there is no such SF; make it with " +
                    quoted("devlink port add " + pf->handle.text() + " flavour pcisf pfnum " +
                           std::to_string(pf_number) + " sfnum " + std::to_string(id.number)));
        }
        return fail(Reason::device_missing,
                    id.text() + ": there is no such VF; " + pf->handle.label() +
                        (pf->total_vfs ? " has num-vfs=" + std::to_string(pf->num_vfs) +
                                             ", raise it in Open_vSwitch other_config:vdpa-pfs"
                                       : ": SR-IOV is off in the firmware") +
                        external_hint(*pf, id));
    }

    /* On a SmartNIC the VF that is meant may be the host's. */
    static std::string external_hint(const Pf &pf, const FunctionId &id) {
        const auto other = std::ranges::find_if(pf.functions, [&](const Function &function) {
            return function.id.controller && function.id.flavour == id.flavour &&
                   function.id.number == id.number &&
                   function.id.pf_number == id.pf_number.value_or(pf.number);
        });
        return other == pf.functions.end() ? "" : "; " + other->id.text() + " is another host's";
    }

    Error no_pf(const FunctionId &id) const {
        const std::string name = id.pf.label();
        if (const Function *function = inventory_.function_with_device(id.pf)) {
            return {Reason::not_a_pf, name + ": is no PF but " + function->id.text() +
                                          ": name its PF, " + function->id.pf.label()};
        }
        if (std::ranges::find(inventory_.others, id.pf) != inventory_.others.end()) {
            return {Reason::not_a_pf, name + ": has neither SR-IOV nor an eswitch, so it is no PF"};
        }
        return {Reason::pf_missing, name + ": there is no such PF; see " +
                                        quoted(id.pf.bus == "pci" ? "lspci -D" : "devlink dev")};
    }

    static Error external(const FunctionId &id) {
        return {Reason::external_controller,
                id.text() + ": is a function of controller " + std::to_string(*id.controller) +
                    ", which is another host's; only that host can serve its queues"};
    }

    tl::unexpected<Error> nothing_named(const std::string &interface) const {
        if (std::holds_alternative<DerivedDevice>(request_.device)) {
            return fail(
                Reason::no_device,
                "nothing says which VF or SF serves the port, and no representor is named " +
                    interface.substr(0, 64) +
                    "; set vdpa-accelerator-devargs or vdpa-representor, or vdpa-sw=true "
                    "for an emulated VF");
        }
        return fail(Reason::no_representor,
                    device_text() +
                        ": is of neither a VF nor an SF, so it has no representor of "
                        "its own; say by vdpa-representor which one is the port");
    }

    Expected<Target> check() const {
        const Function &function = *target_.function;
        const Pf &pf = *target_.pf;
        if (function.id.controller) {
            return tl::make_unexpected(external(function.id));
        }
        if (!function.active) {
            const std::string port = function.representor && function.representor->devlink_port
                                         ? function.representor->devlink.text() + "/" +
                                               std::to_string(*function.representor->devlink_port)
                                         : "PORT";
            return fail(Reason::sf_inactive,
                        function.id.text() + ": the SF is not activated; run " +
                            quoted("devlink port function set " + port + " state active"));
        }
        if (function.representor) {
            return target_;
        }
        if (pf.eswitch == Pf::Eswitch::legacy) {
            return legacy(pf);
        }
        if (request_.is_dpdk_port) {
            return target_;
        }
        if (auto problem = eswitch_problem(pf)) {
            return tl::make_unexpected(std::move(*problem));
        }
        if (pf.eswitch == Pf::Eswitch::unsupported) {
            return without_eswitch(pf);
        }
        return fail(Reason::representor_missing,
                    function.id.text() +
                        ": has no representor in this network namespace, though "
                        "the eswitch is in switchdev mode; see " +
                        quoted("devlink port show") + " and the kernel's log");
    }

    const Inventory &inventory_;
    const DeviceRequest &request_;
    Target target_;
};

}  // namespace

Expected<Target> resolve(const Inventory &inventory, const DeviceRequest &request,
                         const std::string &interface) {
    auto target = Resolver(inventory, request).resolve(interface);
    if (target && target->management && !target->vdpa) {
        // What we make is named after the Interface.
        const VdpaDevice *ours = inventory.vdpa_device(interface);
        target->vdpa = ours && ours->management == target->management->name ? ours : nullptr;
    }
    return target;
}

}  // namespace vdpa::agent::host
