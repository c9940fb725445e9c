// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/device_request.hpp"

namespace vdpa::agent::host {

/* A VF or SF as its PF's driver is told of it. */
struct FunctionPort {
    FunctionId function = {};
    /* The devlink port of its representor; none where the driver has none. */
    Handle devlink = {};
    std::optional<uint32_t> devlink_port = {};
    bool has_function_mac = false;  // whether devlink can set its MAC address
    std::string pf_netdev = {};     // takes MAC addresses of VFs by rtnetlink; empty: none
    /* Of it, whatever it is called by now; 0: not known, it goes by its name. */
    int pf_ifindex = 0;

    bool operator==(const FunctionPort &) const = default;
};

}  // namespace vdpa::agent::host
