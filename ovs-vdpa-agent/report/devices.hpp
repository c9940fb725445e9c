// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::report {

/* Body of vdpa/devices: every PF with its VFs and SFs, their representors, and who uses them;
 * kernel vDPA devices, and management devices that make such; of each that cannot be used, why, and
 * what to do; and what could not be read of this host. `ports`: those that may be users. */
std::string devices_text(const host::Inventory &inventory, const HostView &host,
                         const Board::Ports &ports);
std::string devices_json(const host::Inventory &inventory, const HostView &host,
                         const Board::Ports &ports);

}  // namespace vdpa::agent::report
