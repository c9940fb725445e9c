// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "ovs-vdpa-agent/host/device_request.hpp"

namespace vdpa::agent::host {

/* A device below /sys/bus/BUS/devices (Documentation/ABI/testing/sysfs-bus-pci). */
struct SysfsDevice {
    std::string driver;  // bound to it; empty: none
    /* Of PCI functions, 0xBBSSPP: base class, subclass, programming interface. */
    uint32_t pci_class = 0;
    /* sriov_totalvfs; unlimited_vfs where the device has VFs without saying how many. */
    std::optional<uint32_t> total_vfs;
    uint32_t num_vfs = 0;
    std::map<uint32_t, std::string> vfs;  // virtfnN: the names of the PCI functions
    std::optional<std::string> pf;        // physfn, of a VF
    /* Of an SF (auxiliary device): its number, and the device that it is of. */
    std::optional<uint32_t> sf_number;
    std::optional<Handle> parent;
    std::set<int> ifindexes;  // of its netdevs, if they were asked for

    bool operator==(const SysfsDevice &) const = default;
};

struct SysfsSnapshot {
    /* Network functions, functions with SR-IOV and VFs on the PCI bus; SFs on the auxiliary one;
     * and what else was asked for. */
    std::map<Handle, SysfsDevice> devices;

    bool operator==(const SysfsSnapshot &) const = default;
};

/* Reads what there is below `root`, which is "/sys" but for tests. `wanted`: devices of buses other
 * than pci and auxiliary. `with_netdevs`: also netdevs, which rtnetlink tells since Linux 5.14.
 *
 * Makes some five system calls a device and waits for no lock that is held while a device is set
 * up: so VFs are counted by their links, for sriov_numvfs cannot be read while it is being written
 * (sriov_numvfs_show() in drivers/pci/iov.c). What vanishes meanwhile, or cannot be read, is not
 * there. */
SysfsSnapshot read_sysfs(const std::string &root, const std::set<Handle> &wanted,
                         bool with_netdevs);

}  // namespace vdpa::agent::host
