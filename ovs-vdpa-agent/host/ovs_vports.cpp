// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/ovs_vports.hpp"

#include <linux/openvswitch.h>
#include <netlink/genl/genl.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

/* How often a dump is begun anew because ports came or went meanwhile. */
constexpr int most_dumps = 16;

struct Vport {
    uint32_t number = 0;
    int ifindex = 0;
};

std::optional<Vport> parse(nlmsghdr *message) {
    const Attributes<OVS_VPORT_ATTR_MAX> attributes(message, GENL_HDRLEN + sizeof(ovs_header));
    const auto number = attributes.number<uint32_t>(OVS_VPORT_ATTR_PORT_NO);
    const auto ifindex = attributes.number<int>(OVS_VPORT_ATTR_IFINDEX);
    return number && ifindex ? std::optional(Vport{*number, *ifindex}) : std::nullopt;
}

}  // namespace

NetResult<std::optional<OvsVports>> OvsVports::open() {
    auto netlink = GenericNetlink::open(OVS_VPORT_FAMILY, OVS_VPORT_VERSION);
    if (!netlink) {
        return tl::make_unexpected(netlink.error());
    }
    if (!*netlink) {
        return std::nullopt;
    }
    return OvsVports(std::move(**netlink));
}

NlMessage OvsVports::request(uint8_t command, int flags, int datapath) const {
    NlMessage message = netlink_.request(command, flags, sizeof(ovs_header));
    if (message) {
        auto *header = static_cast<ovs_header *>(
            genlmsg_user_hdr(static_cast<genlmsghdr *>(nlmsg_data(nlmsg_hdr(message.get())))));
        header->dp_ifindex = datapath;
    }
    return message;
}

NetResult<std::optional<uint32_t>> OvsVports::find(int datapath, int ifindex) {
    // There is no request for a port by its netdev (lookup_vport() of datapath.c).
    for (int i = 0; i < most_dumps; i++) {
        const NlMessage message = request(OVS_VPORT_CMD_GET, NLM_F_DUMP, datapath);
        if (!message) {
            return no_memory();
        }
        std::optional<uint32_t> number;
        const auto done = netlink_.run(message.get(), [&number, ifindex](nlmsghdr *header) {
            if (const auto vport = parse(header); vport && vport->ifindex == ifindex) {
                number = vport->number;
            }
        });
        if (number || done || done.error().is_gone()) {
            return number;
        }
        if (done.error().code != EINTR) {
            return tl::make_unexpected(done.error());
        }
    }
    return tl::make_unexpected(NetlinkError{EINTR, "the ports of the datapath do not stand still"});
}

NetResult<bool> OvsVports::finds(int datapath, const std::string &name) {
    const NlMessage message = request(OVS_VPORT_CMD_GET, 0, datapath);
    if (!message || nla_put_string(message.get(), OVS_VPORT_ATTR_NAME, name.c_str()) < 0) {
        return no_memory();
    }
    const auto done = netlink_.run(message.get());
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    return done.has_value();
}

NetResult<void> OvsVports::remove(int datapath, uint32_t number) {
    const NlMessage message = request(OVS_VPORT_CMD_DEL, 0, datapath);
    if (!message || nla_put_u32(message.get(), OVS_VPORT_ATTR_PORT_NO, number) < 0) {
        return no_memory();
    }
    const auto done = netlink_.run(message.get());
    return !done && done.error().is_gone() ? NetResult<void>() : done;
}

}  // namespace vdpa::agent::host
