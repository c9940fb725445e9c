// SPDX-License-Identifier: Apache-2.0
// What is to be done next for a PF: next_step() of pf_service.hpp.
//
//     VFs made --> VFs unbound --> eswitch to switchdev --> VFs bound again --> uplink up
//
// Each is skipped where it is so already; at the end the record forgets that it made the VFs. VFs
// are made and unbound before the change of the eswitch, the order that mlx5's documentation has;
// ice changes it only while there are no VFs (ice_eswitch_mode_set() in
// drivers/net/ethernet/intel/ice/ice_eswitch.c), so there they come last.
#include <algorithm>

#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/host/usable.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

/* Of what holds a PF, as many as a sentence can bear. */
constexpr size_t most_named = 8;

bool changes_eswitch_without_vfs(const Pf &pf) {
    return pf.driver == "ice";
}

/* Drivers that hand a device to a process, which may be using it. */
bool is_for_user_space(const std::string &driver) {
    return driver == "vfio-pci" || driver == "mlx5_vfio_pci" || driver == "uio_pci_generic" ||
           driver == "igb_uio";
}

/* Whether the PF's VFs were made in this preparation. Others may have taken them away since and
 * made some of their own; if as many, for what our spec asks for. */
bool are_ours(const Pf &pf, const PfRecord &record) {
    const auto made = record.made.find(pf.handle);
    return made != record.made.end() && made->second == pf.num_vfs;
}

/* What would lose a VF that it uses. With `is_new` the VFs have been made just now, so that a
 * netdev of theirs that is up, or has an address, is the work of udev or NetworkManager, who set up
 * whatever comes. */
std::vector<std::string> holders(const Inventory &inventory, const Pf &pf,
                                 const std::vector<std::string> &used_by, bool is_new = false) {
    std::vector<std::string> names;
    for (const std::string &interface : used_by) {
        names.push_back("Interface " + interface);
    }
    for (const Function &function : pf.functions) {
        if (function.id.controller || !function.device) {
            continue;
        }
        const std::string device = function.device->label();
        if (function.netdev_in_use && !is_new) {
            std::string netdevs;
            for (const std::string &netdev : function.netdevs) {
                netdevs += (netdevs.empty() ? "" : ", ") + netdev;
            }
            names.push_back(
                "netdev " + netdevs + " of " + device + " (" +
                (function.netdev_claimed ? "it has an address or a master" : "it is up") + ")");
        }
        if (is_for_user_space(function.driver)) {
            names.push_back("the user of " + device + " (it is bound to " + function.driver + ")");
        }
        for (const VdpaDevice &vdpa : inventory.vdpa_devices) {
            if (vdpa.management == function.device->text()) {
                names.push_back("vDPA device " + vdpa.name + " of " + device);
            }
        }
    }
    return names;
}

tl::unexpected<Error> needs_drain(const Pf &pf, const std::string &what,
                                  const std::vector<std::string> &held_by) {
    std::string names;
    for (size_t i = 0; i < std::min(held_by.size(), most_named); i++) {
        names += (i == 0 ? "" : "; ") + held_by[i];
    }
    if (held_by.size() > most_named) {
        names += "; and " + std::to_string(held_by.size() - most_named) + " more";
    }
    return fail(Reason::pf_needs_drain, pf.handle.label() + ": " + what +
                                            " while VFs of it are in use. Let go of: " + names);
}

tl::unexpected<Error> no_pf(const Inventory &inventory, const Handle &handle) {
    const std::string name = handle.label();
    if (const Function *function = inventory.function_with_device(handle)) {
        return fail(Reason::not_a_pf,
                    name + ": is no PF but " + function->id.text() + ": name that PF in vdpa-pfs");
    }
    const auto &others = inventory.others;
    if (std::find(others.begin(), others.end(), handle) != others.end()) {
        return fail(Reason::not_a_pf,
                    name +
                        ": is no PF: it has no SR-IOV. If it should, look at the settings "
                        "SRIOV_EN, NUM_OF_VFS and UCTX_EN of its firmware (mlxconfig), and at "
                        "the machine's");
    }
    return fail(Reason::pf_missing, name + ": there is no such device; see `" +
                                        (handle.bus == "pci" ? "lspci -D" : "devlink dev") + "`");
}

tl::unexpected<Error> too_many_vfs(const Pf &pf, uint32_t wanted) {
    const std::string settings =
        pf.driver == "mlx5_core"
            ? "the settings SRIOV_EN, NUM_OF_VFS and UCTX_EN of its firmware (mlxconfig -d " +
                  pf.handle.device + " query), which take effect after a restart of the machine"
            : "the SR-IOV settings of its firmware and of the machine";
    return fail(Reason::sriov_unsupported, pf.handle.label() + ": can have " +
                                               std::to_string(pf.total_vfs.value_or(0)) +
                                               " VFs (sriov_totalvfs), and vdpa-pfs asks for " +
                                               std::to_string(wanted) + ": look at " + settings);
}

PfStep make_vfs(const Pf &pf, uint32_t count) {
    return {.kind = PfStep::Kind::set_num_vfs, .pf = pf.handle, .num_vfs = count};
}

/* The step towards the right number of VFs; none when it is right. */
Expected<std::optional<PfStep>> towards_vfs(const Inventory &inventory, const Pf &pf,
                                            std::optional<uint32_t> count,
                                            const std::vector<std::string> &used_by) {
    const uint32_t wanted = count.value_or(pf.num_vfs);
    if (wanted == pf.num_vfs) {
        return std::nullopt;
    }
    if (wanted > pf.total_vfs.value_or(0)) {
        return too_many_vfs(pf, wanted);
    }
    // The kernel takes all of them away before it makes another number.
    if (pf.num_vfs != 0) {
        if (const auto held_by = holders(inventory, pf, used_by); !held_by.empty()) {
            return needs_drain(pf,
                               "it cannot have " + std::to_string(wanted) +
                                   " VFs in place of the " + std::to_string(pf.num_vfs) +
                                   " that it has",
                               held_by);
        }
    }
    return make_vfs(pf, wanted);
}

/* Whether the PF is to see to a VF that is not there. The record does not say whose it was; on PCI
 * a VF comes after its PF (PCI Express 6.0, section 9.3.3.9, First VF Offset), so the last before
 * it is one of that adapter, unless the whole adapter has gone. */
bool is_for(const Inventory &inventory, const Pf &pf, const Handle &vf) {
    const Pf *last = nullptr;
    for (const Pf &other : inventory.pfs) {
        if (!last || (other.handle.bus == vf.bus && other.handle < vf)) {
            last = &other;
        }
    }
    return last == &pf;
}

/* A VF that we unbound and that has gone: one that comes in its place is not ours to bind. */
std::optional<PfStep> towards_no_gone_vfs(const Inventory &inventory, const Pf &pf,
                                          const PfRecord &record) {
    for (const auto &[vf, driver] : record.unbound) {
        // A device that is none's may be of a PF that is not known yet.
        const bool is_there = inventory.function_with_device(vf) ||
                              std::ranges::find(inventory.others, vf) != inventory.others.end();
        if (!is_there && is_for(inventory, pf, vf)) {
            return PfStep{.kind = PfStep::Kind::forget_vf, .pf = pf.handle, .vf = vf};
        }
    }
    return std::nullopt;
}

/* Binds VFs that we unbound; also those that somebody else has bound meanwhile, which makes us
 * forget them. */
std::optional<PfStep> towards_bound_vfs(const Pf &pf, const PfRecord &record) {
    for (const Function &function : pf.functions) {
        const auto was =
            function.device ? record.unbound.find(*function.device) : record.unbound.end();
        if (was != record.unbound.end()) {
            return PfStep{.kind = PfStep::Kind::bind_vf,
                          .pf = pf.handle,
                          .vf = was->first,
                          .driver = was->second};
        }
    }
    return std::nullopt;
}

Expected<std::optional<PfStep>> in_legacy_mode(const Inventory &inventory, const Pf &pf,
                                               const PfSpec &spec,
                                               const std::vector<std::string> &used_by,
                                               const PfRecord &record) {
    if (!changes_eswitch_without_vfs(pf)) {
        auto step = towards_vfs(inventory, pf, spec.num_vfs, used_by);
        if (!step || *step) {
            return step;
        }
    }
    const std::string what = "its eswitch cannot go to switchdev mode";
    if (const auto held_by = holders(inventory, pf, used_by, are_ours(pf, record));
        !held_by.empty()) {
        return needs_drain(pf, what, held_by);
    }
    if (changes_eswitch_without_vfs(pf) && pf.num_vfs != 0) {
        // How many there are to be again has to be known.
        if (!spec.num_vfs) {
            return fail(Reason::pf_needs_drain,
                        pf.handle.label() + ": " + what + " while there are VFs (driver " +
                            pf.driver + "): say num-vfs in vdpa-pfs, and they are made anew");
        }
        return make_vfs(pf, 0);
    }
    for (const Function &function : pf.functions) {
        if (function.device && !function.id.controller && !function.driver.empty()) {
            return PfStep{.kind = PfStep::Kind::unbind_vf, .pf = pf.handle, .vf = *function.device};
        }
    }
    return PfStep{.kind = PfStep::Kind::set_switchdev, .pf = pf.handle};
}

}  // namespace

Expected<std::optional<PfStep>> next_step(const Inventory &inventory, const PfSpec &spec,
                                          const std::vector<std::string> &used_by,
                                          const PfRecord &record) {
    const Pf *pf = inventory.pf(spec.handle);
    if (!pf) {
        return no_pf(inventory, spec.handle);
    }
    if (pf->eswitch == Pf::Eswitch::legacy) {
        auto step = in_legacy_mode(inventory, *pf, spec, used_by, record);
        // What was begun is undone when it cannot be gone on with; and from then on the VFs are not
        // new any more, for somebody may begin to use them while it is waited for.
        const auto back = step ? std::nullopt : step_back(inventory, spec.handle, record);
        return back ? back : step;
    }
    if (auto step = step_back(inventory, spec.handle, record)) {
        return step;
    }
    // Without one the kernel makes no VFs either.
    auto problem = driver_problem(*pf);
    if (!problem) {
        problem = eswitch_problem(*pf);
    }
    if (problem) {
        return tl::make_unexpected(std::move(*problem));
    }
    // Before anything that a VF in use may forbid.
    const bool is_switchdev = pf->eswitch == Pf::Eswitch::switchdev;
    for (const Pf::Uplink &uplink : pf->uplinks) {
        if (is_switchdev && !uplink.up) {
            return PfStep{
                .kind = PfStep::Kind::set_uplink_up, .pf = pf->handle, .ifindex = uplink.ifindex};
        }
    }
    auto step = towards_vfs(inventory, *pf, spec.num_vfs, used_by);
    if (is_switchdev || !step || *step) {
        return step;
    }
    return fail(Reason::eswitch_unsupported,
                pf->handle.label() + ": its driver " + pf->driver +
                    " has no switchdev mode, so its VFs have no representors");
}

std::optional<PfStep> step_back(const Inventory &inventory, const Handle &pf,
                                const PfRecord &record) {
    const Pf *found = inventory.pf(pf);
    if (!found) {
        return std::nullopt;
    }
    if (auto step = towards_bound_vfs(*found, record)) {
        return step;
    }
    if (auto step = towards_no_gone_vfs(inventory, *found, record)) {
        return step;
    }
    // From now on whoever has a netdev of a VF set up uses it.
    return record.made.contains(pf) ? std::optional(PfStep{.kind = PfStep::Kind::end, .pf = pf})
                                    : std::nullopt;
}

}  // namespace vdpa::agent::host
