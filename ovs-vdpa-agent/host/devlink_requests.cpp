// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/devlink_requests.hpp"

#include <linux/devlink.h>
#include <linux/genetlink.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

using Answer = Attributes<DEVLINK_ATTR_MAX>;

std::optional<Mac> parse_function_mac(nlattr *function) {
    if (!function) {
        return std::nullopt;
    }
    const Attributes<DEVLINK_PORT_FUNCTION_ATTR_MAX> attributes(function);
    nlattr *address = attributes.get(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR);
    // An InfiniBand function has a longer one.
    if (!address || nla_len(address) != static_cast<int>(sizeof(Mac))) {
        return std::nullopt;
    }
    return attributes.number<Mac>(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR);
}

}  // namespace

NetResult<DevlinkRequests> DevlinkRequests::open() {
    auto netlink = GenericNetlink::open(DEVLINK_GENL_NAME, DEVLINK_GENL_VERSION);
    if (!netlink) {
        return tl::make_unexpected(netlink.error());
    }
    if (!*netlink) {
        return tl::make_unexpected(NetlinkError{EOPNOTSUPP, "the kernel has no devlink"});
    }
    return DevlinkRequests(std::move(**netlink));
}

NlMessage DevlinkRequests::request(uint8_t command, const Handle &device) const {
    NlMessage message = netlink_.request(command);
    if (message &&
        (nla_put_string(message.get(), DEVLINK_ATTR_BUS_NAME, device.bus.c_str()) < 0 ||
         nla_put_string(message.get(), DEVLINK_ATTR_DEV_NAME, device.device.c_str()) < 0)) {
        message.reset();
    }
    return message;
}

NetResult<std::optional<DevlinkPort>> DevlinkRequests::port(const Handle &device, uint32_t index) {
    const NlMessage message = request(DEVLINK_CMD_PORT_GET, device);
    if (!message || nla_put_u32(message.get(), DEVLINK_ATTR_PORT_INDEX, index) < 0) {
        return no_memory();
    }
    std::optional<DevlinkPort> port;
    const auto done = netlink_.run(message.get(), [&port](nlmsghdr *header) {
        const Answer answer(header, GENL_HDRLEN);
        port.emplace();
        port->ifindex = answer.number<int>(DEVLINK_ATTR_PORT_NETDEV_IFINDEX);
        port->function_mac = parse_function_mac(answer.get(DEVLINK_ATTR_PORT_FUNCTION));
    });
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    return port;
}

NetResult<void> DevlinkRequests::set_function_mac(const Handle &device, uint32_t index,
                                                  const Mac &mac) {
    const NlMessage message = request(DEVLINK_CMD_PORT_SET, device);
    nlattr *function = nullptr;
    if (!message || nla_put_u32(message.get(), DEVLINK_ATTR_PORT_INDEX, index) < 0 ||
        !(function = nla_nest_start(message.get(), DEVLINK_ATTR_PORT_FUNCTION)) ||
        nla_put(message.get(), DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, static_cast<int>(mac.size()),
                mac.data()) < 0) {
        return no_memory();
    }
    nla_nest_end(message.get(), function);
    return netlink_.run(message.get());
}

NetResult<bool> DevlinkRequests::is_switchdev(const Handle &device) {
    const NlMessage message = request(DEVLINK_CMD_ESWITCH_GET, device);
    if (!message) {
        return no_memory();
    }
    bool is_switchdev = false;
    const auto done = netlink_.run(message.get(), [&is_switchdev](nlmsghdr *header) {
        const Answer answer(header, GENL_HDRLEN);
        is_switchdev =
            answer.number<uint16_t>(DEVLINK_ATTR_ESWITCH_MODE) == DEVLINK_ESWITCH_MODE_SWITCHDEV;
    });
    return done.map([is_switchdev] { return is_switchdev; });
}

NetResult<void> DevlinkRequests::set_switchdev(const Handle &device) {
    const NlMessage message = request(DEVLINK_CMD_ESWITCH_SET, device);
    if (!message ||
        nla_put_u16(message.get(), DEVLINK_ATTR_ESWITCH_MODE, DEVLINK_ESWITCH_MODE_SWITCHDEV) < 0) {
        return no_memory();
    }
    return netlink_.run(message.get());
}

}  // namespace vdpa::agent::host
