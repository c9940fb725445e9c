// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "ovs-vdpa-agent/host/inventory.hpp"

namespace vdpa::agent::reconcile {

/* Names of what can change in an inventory, so that those who have to do with it can be found. */
std::string pf_key(const host::Handle &pf);  // the PF alone, not its functions
/* Of every PF at once: in VF-LAG it has to be found out which PF a function hangs off. */
std::string function_key(const host::FunctionId &function);
std::string device_key(const host::Handle &device);
/* Of all PCI devices of a bus: what a PF's preparation may bring. */
std::string bus_key(const host::Handle &device);
std::string netdev_key(const std::string &representor);
std::string vdpa_key(const std::string &name_or_path);
std::string management_key(const std::string &name);
std::string kernel_vdpa_key();  // what the kernel has for vDPA at all

/* What differs, by those names. Its cost is in proportion to the size of the inventories. */
std::set<std::string> changes_of(const host::Inventory &before, const host::Inventory &after);

}  // namespace vdpa::agent::reconcile
