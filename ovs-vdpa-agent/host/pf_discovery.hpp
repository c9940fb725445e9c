// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>

#include "ovs-vdpa-agent/host/devlink_state.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/sysfs.hpp"

namespace vdpa::agent::host {

/* Whether sysfs names a PF that this device is a VF of. */
bool is_vf(const SysfsSnapshot &sysfs, const Handle &handle);

/* Whether this is a network device by its PCI class (include/linux/pci_ids.h: the class is the
 * highest of three bytes). */
bool is_network(const SysfsDevice &device);

/* The PFs of this machine: PCI devices that can have VFs, and what devlink gives an eswitch or a
 * port of a switch to; VFs are none. One is left out until all that has to be known of it was read.
 * Filled in: handle, driver, kind, eswitch mode or why it is not known, numbers of VFs. Left to the
 * caller: what its ports and netdevs tell (number, switch, uplinks, functions). */
std::map<Handle, Pf> find_pfs(const DevlinkState &devlink, const SysfsSnapshot &sysfs);

}  // namespace vdpa::agent::host
