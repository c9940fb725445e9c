// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/pf_discovery.hpp"

#include "ovs-vdpa-agent/host/port_identity.hpp"

namespace vdpa::agent::host {

bool is_vf(const SysfsSnapshot &sysfs, const Handle &handle) {
    const auto found = sysfs.devices.find(handle);
    return found != sysfs.devices.end() && found->second.pf;
}

bool is_network(const SysfsDevice &device) {
    constexpr uint32_t network_class = 0x02;
    return device.pci_class >> 16U == network_class;
}

std::map<Handle, Pf> find_pfs(const DevlinkState &devlink, const SysfsSnapshot &sysfs) {
    std::map<Handle, Pf> pfs;
    for (const auto &[handle, device] : sysfs.devices) {
        if (device.total_vfs && !device.pf) {
            pfs[handle];
        }
    }
    for (const auto &[handle, eswitch] : devlink.devices) {
        // One that could not be asked may be any device that devlink has.
        if (eswitch.value_or(Pf::Eswitch::unsupported) != Pf::Eswitch::unsupported) {
            pfs[handle];
        }
    }
    for (const auto &[key, port] : devlink.ports) {
        const auto identity = identify(port);
        if (identity && identity->kind != PortIdentity::Kind::something) {
            pfs[port.device];
        }
    }
    std::erase_if(pfs, [&](const auto &entry) {
        // One whose eswitch was not asked yet is not there yet, and neither is one that sysfs
        // was not read of: it would have neither driver nor SR-IOV. (Of the auxiliary bus, SFs
        // alone are read.)
        const auto &handle = entry.first;
        const auto found = devlink.devices.find(handle);
        const bool is_devlinks = found != devlink.devices.end();
        const bool has_sysfs = handle.bus == "auxiliary" || sysfs.devices.contains(handle);
        // On PCI there are PFs without devlink. Of others it tells last on older kernels (6.1).
        const bool has_devlink = is_devlinks || handle.bus == "pci";
        const bool was_asked =
            is_devlinks && (found->second || devlink.eswitch_errors.contains(handle));
        return is_vf(sysfs, handle) || !has_sysfs || !has_devlink || (is_devlinks && !was_asked);
    });
    for (auto &[handle, pf] : pfs) {
        pf.handle = handle;
        if (const auto found = sysfs.devices.find(handle); found != sysfs.devices.end()) {
            pf.driver = found->second.driver;
            pf.is_network = handle.bus != "pci" || is_network(found->second);
            pf.total_vfs = found->second.total_vfs;
            pf.num_vfs = found->second.num_vfs;
        }
        if (const auto found = devlink.devices.find(handle); found != devlink.devices.end()) {
            pf.eswitch = found->second.value_or(Pf::Eswitch::unread);
        }
        if (const auto found = devlink.eswitch_errors.find(handle);
            found != devlink.eswitch_errors.end()) {
            pf.eswitch_error = found->second;
        }
    }
    return pfs;
}

}  // namespace vdpa::agent::host
