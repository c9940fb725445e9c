// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "ovs-vdpa-agent/host/devlink_state.hpp"
#include "ovs-vdpa-agent/host/links.hpp"
#include "ovs-vdpa-agent/host/port_name.hpp"

namespace vdpa::agent::host {

/* What a devlink port stands for, by its attributes. None: it has no flavour, as on kernels and
 * drivers that set no attributes; then the name of its netdev may tell. */
std::optional<PortIdentity> identify(const DevlinkPortState &port);

/* What a netdev stands for, by its phys_port_name. None: it is no port of a switch. */
std::optional<PortIdentity> identify(const Link &link);

}  // namespace vdpa::agent::host
