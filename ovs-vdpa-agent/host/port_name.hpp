// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ovs-vdpa-agent/host/device_request.hpp"

namespace vdpa::agent::host {

/* What a netdev stands for on its switch. */
struct PortIdentity {
    enum class Kind {
        uplink,     // a physical port
        pf,         // a PF of the switch's own or of an external controller
        function,   // a VF or SF
        something,  // known to be none of these
    };
    Kind kind = Kind::something;
    std::optional<uint32_t> controller;  // external
    std::optional<uint16_t> pf_number;
    Flavour flavour = Flavour::vf;
    uint32_t number = 0;

    bool operator==(const PortIdentity &) const = default;
};

/* Reads phys_port_name as the kernel composes it (__devlink_port_phys_port_name_get() in
 * net/devlink/port.c): pN, pNsM, lKpN, pfN, cKpfN, pfNvfM, pfNsfM, cKpfNvfM, cKpfNsfM; and a bare
 * number, which is what mlx5 called the representor of that VF before Linux 5.3. None: it is
 * something else. */
std::optional<PortIdentity> parse_port_name(std::string_view name);

}  // namespace vdpa::agent::host
