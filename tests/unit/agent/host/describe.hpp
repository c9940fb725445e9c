// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory.hpp"

namespace vdpa::agent::host {

/* All that an inventory holds, a line for each PF, function and vDPA device. What is usual is left
 * out: no address, no netdev, not up. */
std::vector<std::string> describe(const Inventory &inventory);
std::string describe(const Function &function);
/* "pf0vf3 by eth4", and the vDPA devices. */
std::string describe(const Target &target);

}  // namespace vdpa::agent::host
