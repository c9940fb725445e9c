// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/devlink_state.hpp"

#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <netlink/msg.h>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

using DevlinkAttributes = Attributes<DEVLINK_ATTR_MAX>;

void read_function(nlattr *nested, DevlinkPortState &port) {
    const Attributes<DEVLINK_PORT_FUNCTION_ATTR_MAX> function(nested);
    if (nlattr *mac = function.get(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR)) {
        port.mac = mac_text(mac);
    }
    if (const auto state = function.number<uint8_t>(DEVLINK_PORT_FN_ATTR_STATE)) {
        port.active = *state == DEVLINK_PORT_FN_STATE_ACTIVE;
    }
}

DevlinkPortState read_port(const DevlinkAttributes &attributes, const Handle &device,
                           uint32_t index) {
    DevlinkPortState port;
    port.device = device;
    port.index = index;
    port.flavour = attributes.number<uint16_t>(DEVLINK_ATTR_PORT_FLAVOUR);
    port.controller = attributes.number<uint32_t>(DEVLINK_ATTR_PORT_CONTROLLER_NUMBER).value_or(0);
    // The kernel has no such attribute for SFs, but only external controllers have a number.
    port.external = attributes.number<uint8_t>(DEVLINK_ATTR_PORT_EXTERNAL).value_or(0) != 0 ||
                    port.controller != 0;
    port.pf_number = attributes.number<uint16_t>(DEVLINK_ATTR_PORT_PCI_PF_NUMBER).value_or(0);
    if (port.flavour == DEVLINK_PORT_FLAVOUR_PCI_VF) {
        port.number = attributes.number<uint16_t>(DEVLINK_ATTR_PORT_PCI_VF_NUMBER).value_or(0);
    } else if (port.flavour == DEVLINK_PORT_FLAVOUR_PCI_SF) {
        port.number = attributes.number<uint32_t>(DEVLINK_ATTR_PORT_PCI_SF_NUMBER).value_or(0);
    }
    port.ifindex =
        static_cast<int>(attributes.number<uint32_t>(DEVLINK_ATTR_PORT_NETDEV_IFINDEX).value_or(0));
    if (nlattr *function = attributes.get(DEVLINK_ATTR_PORT_FUNCTION)) {
        read_function(function, port);
    }
    return port;
}

}  // namespace

std::optional<DevlinkMessage> parse_devlink(nlmsghdr *message) {
    const DevlinkAttributes attributes(message, GENL_HDRLEN);
    if (!attributes.has(DEVLINK_ATTR_BUS_NAME) || !attributes.has(DEVLINK_ATTR_DEV_NAME)) {
        return std::nullopt;
    }
    DevlinkMessage result;
    result.command = static_cast<const genlmsghdr *>(nlmsg_data(message))->cmd;
    result.device = {attributes.text(DEVLINK_ATTR_BUS_NAME),
                     attributes.text(DEVLINK_ATTR_DEV_NAME)};
    const auto index = attributes.number<uint32_t>(DEVLINK_ATTR_PORT_INDEX);
    if (result.command == DEVLINK_CMD_NEW && index) {
        // So a dump of ports has them on older kernels, such as 6.1.
        result.command = DEVLINK_CMD_PORT_NEW;
    }
    switch (result.command) {
        case DEVLINK_CMD_NEW:
        case DEVLINK_CMD_DEL:
            return result;
        case DEVLINK_CMD_PORT_NEW:
        case DEVLINK_CMD_PORT_DEL:
            if (index) {
                result.port = read_port(attributes, result.device, *index);
                return result;
            }
            return std::nullopt;
        case DEVLINK_CMD_ESWITCH_GET:
            // A driver without eswitch may answer without the attribute.
            switch (attributes.number<uint16_t>(DEVLINK_ATTR_ESWITCH_MODE).value_or(UINT16_MAX)) {
                case DEVLINK_ESWITCH_MODE_LEGACY:
                    result.eswitch = Pf::Eswitch::legacy;
                    break;
                case DEVLINK_ESWITCH_MODE_SWITCHDEV:
                    result.eswitch = Pf::Eswitch::switchdev;
                    break;
                default:
                    result.eswitch = Pf::Eswitch::unsupported;
            }
            return result;
        default:
            return std::nullopt;
    }
}

bool apply(const DevlinkMessage &message, DevlinkState &state) {
    const Handle &device = message.device;
    const bool is_port = message.port.has_value();
    const DevlinkState::PortKey key{device, is_port ? message.port->index : 0};
    switch (message.command) {
        case DEVLINK_CMD_NEW:
            return state.devices.try_emplace(device).second;
        case DEVLINK_CMD_DEL:
            std::erase_if(state.ports,
                          [&device](const auto &entry) { return entry.first.first == device; });
            state.eswitch_errors.erase(device);
            return state.devices.erase(device) > 0;
        case DEVLINK_CMD_PORT_NEW: {
            const bool came = state.devices.try_emplace(device).second;
            return state.ports.insert_or_assign(key, *message.port).second || came;
        }
        case DEVLINK_CMD_PORT_DEL:
            return state.ports.erase(key) > 0;
        case DEVLINK_CMD_ESWITCH_GET:
            set_eswitch(device, message.eswitch.value_or(Pf::Eswitch::unsupported), state);
            return false;
        default:
            return false;
    }
}

bool set_eswitch(const Handle &device, Pf::Eswitch mode, DevlinkState &state) {
    const auto known = state.devices.find(device);
    if (known == state.devices.end()) {
        return false;
    }
    const bool had_error = state.eswitch_errors.erase(device) > 0;
    return std::exchange(known->second, mode) != mode || had_error;
}

bool set_eswitch_error(const Handle &device, const std::string &error, DevlinkState &state) {
    if (!state.devices.contains(device)) {
        return false;
    }
    std::string &known = state.eswitch_errors[device];
    return std::exchange(known, error) != error;
}

}  // namespace vdpa::agent::host
