// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/rtnl.hpp"

#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

struct MessageDeleter {
    void operator()(nl_msg *message) const { nlmsg_free(message); }
};
struct LinkDeleter {
    void operator()(rtnl_link *link) const { rtnl_link_put(link); }
};
struct CallbackDeleter {
    void operator()(nl_cb *callback) const { nl_cb_put(callback); }
};

tl::unexpected<Error> rtnl_failed(const std::string &what, int error) {
    return fail(Reason::tap_failed, what + ": " + nl_geterror(error));
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

int take_link(nl_msg *message, void *out) noexcept {
    *static_cast<std::optional<Link> *>(out) = parse_link(nlmsg_hdr(message));
    return NL_OK;
}

}  // namespace

void NlSocketDeleter::operator()(nl_sock *socket) const {
    nl_socket_free(socket);
}

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
    const Attributes<IFLA_MAX> attributes(message, sizeof(ifinfomsg));
    nlattr *const list = attributes.get(IFLA_VFINFO_LIST);
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
    const std::unique_ptr<nl_msg, MessageDeleter> request(nlmsg_alloc_simple(RTM_GETLINK, 0));
    ifinfomsg header{};
    header.ifi_index = ifindex;
    if (!request || nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0 ||
        nla_put_u32(request.get(), IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS) < 0) {
        return -NLE_NOMEM;
    }
    return nl_send_auto(socket, request.get());
}

Expected<Rtnl> Rtnl::open() {
    NlSocket socket(nl_socket_alloc());
    if (!socket) {
        return rtnl_failed("netlink socket", -NLE_NOMEM);
    }
    if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
        return rtnl_failed("netlink socket", error);
    }
    return Rtnl(std::move(socket));
}

Expected<std::optional<Link>> Rtnl::find(const std::string &name) {
    const std::unique_ptr<nl_msg, MessageDeleter> request(nlmsg_alloc_simple(RTM_GETLINK, 0));
    ifinfomsg header{};
    if (!request || nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0 ||
        nla_put_string(request.get(), IFLA_IFNAME, name.c_str()) < 0) {
        return rtnl_failed(name, -NLE_NOMEM);
    }
    return get(request.get(), name);
}

Expected<std::optional<Link>> Rtnl::find(int ifindex) {
    const std::string what = "netdev with index " + std::to_string(ifindex);
    const std::unique_ptr<nl_msg, MessageDeleter> request(nlmsg_alloc_simple(RTM_GETLINK, 0));
    ifinfomsg header{};
    header.ifi_index = ifindex;
    if (!request || nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0) {
        return rtnl_failed(what, -NLE_NOMEM);
    }
    return get(request.get(), what);
}

Expected<std::optional<Link>> Rtnl::get(nl_msg *request, const std::string &what) {
    std::optional<Link> link;
    const std::unique_ptr<nl_cb, CallbackDeleter> callbacks(nl_cb_clone(
        std::unique_ptr<nl_cb, CallbackDeleter>(nl_socket_get_cb(socket_.get())).get()));
    if (!callbacks) {
        return rtnl_failed(what, -NLE_NOMEM);
    }
    nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, take_link, &link);
    int error = nl_send_auto(socket_.get(), request);
    if (error >= 0) {
        error = nl_recvmsgs(socket_.get(), callbacks.get());
    }
    // The answer to a request without NLM_F_ACK may leave an acknowledgement behind.
    if (error >= 0 && link) {
        error = nl_wait_for_ack(socket_.get());
    }
    if (error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND) {
        return std::optional<Link>();
    }
    if (error < 0) {
        return rtnl_failed(what, error);
    }
    return link;
}

Expected<void> Rtnl::set_alias(int ifindex, const std::string &alias) {
    const std::unique_ptr<nl_msg, MessageDeleter> request(nlmsg_alloc_simple(RTM_NEWLINK, 0));
    ifinfomsg header{};
    header.ifi_index = ifindex;
    if (!request || nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0 ||
        nla_put_string(request.get(), IFLA_IFALIAS, alias.c_str()) < 0) {
        return rtnl_failed(alias, -NLE_NOMEM);
    }
    int error = nl_send_auto(socket_.get(), request.get());
    if (error >= 0) {
        error = nl_wait_for_ack(socket_.get());
    }
    if (error < 0) {
        return rtnl_failed("alias of the netdev with index " + std::to_string(ifindex), error);
    }
    return {};
}

Expected<void> Rtnl::remove(int ifindex) {
    const std::unique_ptr<rtnl_link, LinkDeleter> link(rtnl_link_alloc());
    if (!link) {
        return rtnl_failed("netdev", -NLE_NOMEM);
    }
    rtnl_link_set_ifindex(link.get(), ifindex);
    const int error = rtnl_link_delete(socket_.get(), link.get());
    if (error < 0 && error != -NLE_NODEV && error != -NLE_OBJ_NOTFOUND) {
        return rtnl_failed("netdev with index " + std::to_string(ifindex), error);
    }
    return {};
}

}  // namespace vdpa::agent::host
