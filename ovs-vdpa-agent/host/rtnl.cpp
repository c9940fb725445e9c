// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/rtnl.hpp"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <algorithm>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

/* A request about the netdev with that index; 0 if an attribute names it. */
NlMessage link_request(int type, int ifindex, unsigned flags = 0, unsigned changed = 0) {
    NlMessage request(nlmsg_alloc_simple(type, 0));
    ifinfomsg header{};
    header.ifi_index = ifindex;
    header.ifi_flags = flags;
    header.ifi_change = changed;
    if (request && nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0) {
        request.reset();
    }
    return request;
}

void parse_link_info(nlattr *info, Link &link) {
    const Attributes<IFLA_INFO_MAX> attributes(info);
    link.kind = attributes.text(IFLA_INFO_KIND);
    if (link.kind != "tun" || !attributes.has(IFLA_INFO_DATA)) {
        return;
    }
    const Attributes<IFLA_TUN_MAX> data(attributes.get(IFLA_INFO_DATA));
    link.tap_owner = data.number<uint32_t>(IFLA_TUN_OWNER);
    const auto is_set = [&data](int attribute) {
        return data.number<uint8_t>(attribute).value_or(0) != 0;
    };
    link.is_emulated_vf = data.number<uint8_t>(IFLA_TUN_TYPE) == IFF_TAP &&
                          is_set(IFLA_TUN_VNET_HDR) && is_set(IFLA_TUN_PERSIST);
    link.tap_multi_queue = is_set(IFLA_TUN_MULTI_QUEUE);
}

std::vector<std::string> parse_altnames(nlattr *list) {
    std::vector<std::string> names;
    nlattr *property = nullptr;
    int rest = 0;
    nla_for_each_nested(property, list, rest) {
        if (nla_type(property) == IFLA_ALT_IFNAME) {
            const auto *const begin = static_cast<const char *>(nla_data(property));
            names.emplace_back(begin, ::strnlen(begin, static_cast<size_t>(nla_len(property))));
        }
    }
    return names;
}

NlMessage vf_macs_request(int ifindex) {
    NlMessage request = link_request(RTM_GETLINK, ifindex);
    // Without the statistics of every VF, which may not fit into a message.
    if (request &&
        nla_put_u32(request.get(), IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS) < 0) {
        request.reset();
    }
    return request;
}

nlattr *first_attribute(nlmsghdr *message, int type) {
    return nlmsg_valid_hdr(message, sizeof(ifinfomsg)) != 0
               ? nlmsg_find_attr(message, sizeof(ifinfomsg), type)
               : nullptr;
}

/* The answer to a request for one netdev. */
NetResult<std::optional<Link>> get_link(NetlinkSocket &socket, nl_msg *request) {
    std::optional<Link> link;
    const auto done =
        socket.run(request, [&link](nlmsghdr *message) { link = parse_link(message); });
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    return link;
}

}  // namespace

std::optional<Link> parse_link(nlmsghdr *message) {
    const Attributes<IFLA_MAX> attributes(message, sizeof(ifinfomsg));
    if (!attributes.has(IFLA_IFNAME)) {
        return std::nullopt;
    }
    const auto *header = static_cast<const ifinfomsg *>(nlmsg_data(message));
    Link link;
    link.ifindex = header->ifi_index;
    link.flags = header->ifi_flags;
    link.name = attributes.text(IFLA_IFNAME);
    if (const auto master = attributes.number<uint32_t>(IFLA_MASTER)) {
        link.master = static_cast<int>(*master);
    }
    link.alias = attributes.text(IFLA_IFALIAS);
    link.mtu = attributes.number<uint32_t>(IFLA_MTU).value_or(0);
    link.phys_port_name = attributes.text(IFLA_PHYS_PORT_NAME);
    if (nlattr *id = attributes.get(IFLA_PHYS_SWITCH_ID)) {
        link.switch_id = hex_text(nla_data(id), static_cast<size_t>(nla_len(id)), "");
    }
    link.parent_bus = attributes.text(IFLA_PARENT_DEV_BUS_NAME);
    link.parent_device = attributes.text(IFLA_PARENT_DEV_NAME);
    if (nlattr *list = attributes.get(IFLA_PROP_LIST)) {
        link.altnames = parse_altnames(list);
    }
    if (nlattr *info = attributes.get(IFLA_LINKINFO)) {
        parse_link_info(info, link);
    }
    return link;
}

std::optional<std::map<uint32_t, std::string>> parse_vf_macs(nlmsghdr *message) {
    // The first of that type: what follows a list whose length has wrapped around is the rest of
    // it, and may look like anything.
    nlattr *const list = first_attribute(message, IFLA_VFINFO_LIST);
    if (!list) {
        return std::nullopt;
    }
    std::map<uint32_t, std::string> macs;
    nlattr *info = nullptr;
    int rest = 0;
    nla_for_each_nested(info, list, rest) {
        const Attributes<IFLA_VF_MAX> of_vf(info);
        if (const auto mac = of_vf.number<ifla_vf_mac>(IFLA_VF_MAC)) {
            macs[mac->vf] = hex_text(mac->mac, ETH_ALEN, ":");
        }
    }
    return macs;
}

uint32_t parse_vf_count(nlmsghdr *message) {
    nlattr *const count = first_attribute(message, IFLA_NUM_VF);
    return count && nla_len(count) >= static_cast<int>(sizeof(uint32_t)) ? nla_get_u32(count) : 0;
}

bool LinkAddress::is_link_local() const {
    return family == AF_INET6 && bytes.size() >= 2 && static_cast<uint8_t>(bytes[0]) == 0xfe &&
           (static_cast<uint8_t>(bytes[1]) & 0xc0U) == 0x80;
}

std::optional<LinkAddress> parse_address(nlmsghdr *message) {
    const Attributes<IFA_MAX> attributes(message, sizeof(ifaddrmsg));
    // Of a point-to-point link, IFA_ADDRESS is the peer's.
    nlattr *const bytes =
        attributes.has(IFA_LOCAL) ? attributes.get(IFA_LOCAL) : attributes.get(IFA_ADDRESS);
    if (!bytes) {
        return std::nullopt;
    }
    const auto *header = static_cast<const ifaddrmsg *>(nlmsg_data(message));
    return LinkAddress{static_cast<int>(header->ifa_index), header->ifa_family,
                       header->ifa_prefixlen,
                       std::string(static_cast<const char *>(nla_data(bytes)),
                                   static_cast<size_t>(nla_len(bytes)))};
}

int set_receive_buffer(nl_sock *socket, int size) {
    constexpr int default_size = 4 << 20;
    const int wanted = size == 0 ? default_size : size;
    if (::setsockopt(nl_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUFFORCE, &wanted,
                     sizeof wanted) == 0) {
        return 0;
    }
    return nl_socket_set_buffer_size(socket, wanted, 0);
}

int request_vf_macs(nl_sock *socket, int ifindex) {
    const NlMessage request = vf_macs_request(ifindex);
    return request ? nl_send_auto(socket, request.get()) : -NLE_NOMEM;
}

NetResult<Rtnl> Rtnl::open() {
    return NetlinkSocket::open(NETLINK_ROUTE).map([](NetlinkSocket socket) {
        return Rtnl(std::move(socket));
    });
}

NetResult<std::optional<Link>> Rtnl::find(const std::string &name) {
    const NlMessage request = link_request(RTM_GETLINK, 0);
    // IFLA_IFNAME is matched by altnames, too.
    if (!request || nla_put_string(request.get(), IFLA_IFNAME, name.c_str()) < 0) {
        return no_memory();
    }
    return get_link(socket_, request.get());
}

NetResult<std::optional<Link>> Rtnl::find(int ifindex) {
    const NlMessage request = link_request(RTM_GETLINK, ifindex);
    return request ? get_link(socket_, request.get()) : no_memory();
}

NetResult<void> Rtnl::set_up_as(int ifindex, const LinkSetup &setup) {
    const NlMessage request = link_request(RTM_NEWLINK, ifindex, setup.flags, setup.flags);
    if (!request || nla_put_string(request.get(), IFLA_IFNAME, setup.name.c_str()) < 0 ||
        nla_put_string(request.get(), IFLA_IFALIAS, setup.alias.c_str()) < 0 ||
        (setup.address &&
         nla_put(request.get(), IFLA_ADDRESS, ETH_ALEN, setup.address->data()) < 0)) {
        return no_memory();
    }
    return socket_.run(request.get());
}

NetResult<void> Rtnl::set_up(int ifindex, bool up) {
    const NlMessage request = link_request(RTM_NEWLINK, ifindex, up ? IFF_UP : 0, IFF_UP);
    return request ? socket_.run(request.get()) : no_memory();
}

NetResult<void> Rtnl::set_mtu(int ifindex, uint32_t mtu) {
    const NlMessage request = link_request(RTM_NEWLINK, ifindex);
    if (!request || nla_put_u32(request.get(), IFLA_MTU, mtu) < 0) {
        return no_memory();
    }
    return socket_.run(request.get());
}

NetResult<void> Rtnl::rename(int ifindex, const std::string &name) {
    const NlMessage request = link_request(RTM_NEWLINK, ifindex);
    if (!request || nla_put_string(request.get(), IFLA_IFNAME, name.c_str()) < 0) {
        return no_memory();
    }
    return socket_.run(request.get());
}

NetResult<void> Rtnl::change_altname(int type, int ifindex, const std::string &name) {
    const NlMessage request = link_request(type, ifindex);
    nlattr *list = request ? nla_nest_start(request.get(), IFLA_PROP_LIST) : nullptr;
    if (!list || nla_put_string(request.get(), IFLA_ALT_IFNAME, name.c_str()) < 0) {
        return no_memory();
    }
    nla_nest_end(request.get(), list);
    return socket_.run(request.get());
}

NetResult<void> Rtnl::add_altname(int ifindex, const std::string &name) {
    return change_altname(RTM_NEWLINKPROP, ifindex, name);
}

NetResult<void> Rtnl::remove_altname(int ifindex, const std::string &name) {
    return change_altname(RTM_DELLINKPROP, ifindex, name);
}

NetResult<std::optional<Mac>> Rtnl::vf_mac(int pf_ifindex, uint32_t vf) {
    const NlMessage request = vf_macs_request(pf_ifindex);
    if (!request) {
        return no_memory();
    }
    std::optional<Mac> mac;
    const auto done = socket_.run(request.get(), [&mac, vf](nlmsghdr *message) {
        if (const auto macs = parse_vf_macs(message); macs && macs->contains(vf)) {
            mac = parse_mac(macs->at(vf));
        }
    });
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    return mac;
}

NetResult<void> Rtnl::set_vf_mac(int pf_ifindex, uint32_t vf, const Mac &mac) {
    const NlMessage request = link_request(RTM_NEWLINK, pf_ifindex);
    ifla_vf_mac value{};
    value.vf = vf;
    std::copy(mac.begin(), mac.end(), std::begin(value.mac));
    nlattr *list = request ? nla_nest_start(request.get(), IFLA_VFINFO_LIST) : nullptr;
    nlattr *entry = list ? nla_nest_start(request.get(), IFLA_VF_INFO) : nullptr;
    if (!entry || nla_put(request.get(), IFLA_VF_MAC, sizeof value, &value) < 0) {
        return no_memory();
    }
    nla_nest_end(request.get(), entry);
    nla_nest_end(request.get(), list);
    return socket_.run(request.get());
}

NetResult<void> Rtnl::remove(int ifindex) {
    const NlMessage request = link_request(RTM_DELLINK, ifindex);
    const auto done = request ? socket_.run(request.get()) : no_memory();
    return !done && done.error().is_gone() ? NetResult<void>() : done;
}

}  // namespace vdpa::agent::host
