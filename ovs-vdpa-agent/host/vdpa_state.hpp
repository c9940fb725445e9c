// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/netlink.h>

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"

namespace vdpa::agent::host {

/* Kernel vDPA devices and management devices, sorted by name. */
struct VdpaState {
    bool has_family = false;
    bool has_vhost_driver = false;
    std::vector<VdpaDevice> devices;
    std::vector<VdpaManagement> managements;

    bool operator==(const VdpaState &) const = default;
};

/* Messages of the vdpa netlink family (linux/vdpa.h): answers to VDPA_CMD_MGMTDEV_GET,
 * VDPA_CMD_DEV_GET and VDPA_CMD_DEV_CONFIG_GET. Nothing if they are malformed. */
std::optional<VdpaManagement> parse_vdpa_management(nlmsghdr *message);
std::optional<VdpaDevice> parse_vdpa_device(nlmsghdr *message);
void parse_vdpa_config(nlmsghdr *message, VdpaDevice &device);

/* Asks the kernel, and below `root` ("/sys") for the driver vhost_vdpa and the character device of
 * each. Waits behind a
 * device that is being deleted while it is open, for as long as it is open. */
NetResult<VdpaState> read_vdpa(const std::string &root);

}  // namespace vdpa::agent::host
