// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/port_identity.hpp"

#include <linux/devlink.h>

namespace vdpa::agent::host {

std::optional<PortIdentity> identify(const DevlinkPortState &port) {
    PortIdentity identity;
    identity.pf_number = port.pf_number;
    identity.number = port.number;
    if (port.external) {
        identity.controller = port.controller;
    }
    switch (port.flavour.value_or(UINT16_MAX)) {
        case DEVLINK_PORT_FLAVOUR_PHYSICAL:
            identity.kind = PortIdentity::Kind::uplink;
            break;
        case DEVLINK_PORT_FLAVOUR_PCI_PF:
            identity.kind = PortIdentity::Kind::pf;
            break;
        case DEVLINK_PORT_FLAVOUR_PCI_SF:
            identity.flavour = Flavour::sf;
            identity.kind = PortIdentity::Kind::function;
            break;
        case DEVLINK_PORT_FLAVOUR_PCI_VF:
            identity.kind = PortIdentity::Kind::function;
            break;
        case UINT16_MAX:
            return std::nullopt;
        default:
            break;
    }
    return identity;
}

std::optional<PortIdentity> identify(const Link &link) {
    auto identity = parse_port_name(link.phys_port_name);
    // A number alone is a VF's only where there is a switch: other drivers number their ports.
    if (identity && !identity->pf_number && identity->kind == PortIdentity::Kind::function &&
        link.switch_id.empty()) {
        return std::nullopt;
    }
    return identity;
}

}  // namespace vdpa::agent::host
