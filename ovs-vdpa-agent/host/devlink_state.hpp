// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/netlink.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "ovs-vdpa-agent/host/inventory.hpp"

namespace vdpa::agent::host {

/* A port of a devlink device, as DEVLINK_CMD_PORT_NEW has it (linux/devlink.h). */
struct DevlinkPortState {
    Handle device;
    uint32_t index = 0;
    std::optional<uint16_t>
        flavour;  // DEVLINK_PORT_FLAVOUR_*; none: the driver gives no attributes
    /* Of flavours PCI_PF, PCI_VF, PCI_SF. */
    uint32_t controller = 0;
    bool external = false;  // the function is another host's
    uint16_t pf_number = 0;
    uint32_t number = 0;  // of the VF or SF
    int ifindex = 0;      // 0: no netdev in this network namespace
    /* Of the function behind the port. None where the driver does not let it be read and set. */
    std::optional<std::string> mac;
    std::optional<bool> active;

    bool operator==(const DevlinkPortState &) const = default;
};

/* What devlink told of. */
struct DevlinkState {
    using PortKey = std::pair<Handle, uint32_t>;

    /* The mode of the eswitch is none as long as the device was not asked. */
    std::map<Handle, std::optional<Pf::Eswitch>> devices;
    /* Why the eswitch could not be read when it was last asked. */
    std::map<Handle, std::string> eswitch_errors;
    std::map<PortKey, DevlinkPortState> ports;

    bool operator==(const DevlinkState &) const = default;
};

/* A notification, or a part of an answer. */
struct DevlinkMessage {
    uint8_t command = 0;  // DEVLINK_CMD_*
    Handle device;
    std::optional<DevlinkPortState> port;
    std::optional<Pf::Eswitch> eswitch;
};

/* Nothing if the message is malformed or about something else than a device, a port, an eswitch. */
std::optional<DevlinkMessage> parse_devlink(nlmsghdr *message);

/* What a message makes of the state. A port's removal has two steps: first it is told of without
 * its netdev, then it goes. Returns whether ports or devices came or went, which is all the kernel
 * lets anybody know of a change of the eswitch's mode. */
bool apply(const DevlinkMessage &message, DevlinkState &state);

/* What came of asking a device of the state for the mode of its eswitch. Both return whether that
 * is a difference. A mode that was known stays when it cannot be read. */
bool set_eswitch(const Handle &device, Pf::Eswitch mode, DevlinkState &state);
bool set_eswitch_error(const Handle &device, const std::string &error, DevlinkState &state);

}  // namespace vdpa::agent::host
