// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ovs-vdpa-agent/host/devlink_state.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/links.hpp"
#include "ovs-vdpa-agent/host/sysfs.hpp"
#include "ovs-vdpa-agent/host/vdpa_state.hpp"

namespace vdpa::agent::host {

/* Makes one value of what the sources say. They may be of slightly different moments: a netdev that
 * devlink names and rtnetlink does not know is not there, and neither is a VF without PF. Takes
 * time in proportion to n log n of all that there is. */
Inventory build_inventory(const DevlinkState &devlink, const Links &links,
                          const SysfsSnapshot &sysfs, const VdpaState &vdpa);

}  // namespace vdpa::agent::host
