// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/rtnl.hpp"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

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
    nlattr *attributes[IFLA_INFO_MAX + 1] = {};
    if (nla_parse_nested(attributes, IFLA_INFO_MAX, info, nullptr) != 0) {
        return;
    }
    if (attributes[IFLA_INFO_KIND]) {
        link.kind = nla_get_string(attributes[IFLA_INFO_KIND]);
    }
    if (link.kind != "tun" || !attributes[IFLA_INFO_DATA]) {
        return;
    }
    nlattr *data[IFLA_TUN_MAX + 1] = {};
    if (nla_parse_nested(data, IFLA_TUN_MAX, attributes[IFLA_INFO_DATA], nullptr) != 0) {
        return;
    }
    if (data[IFLA_TUN_OWNER]) {
        link.tap_owner = nla_get_u32(data[IFLA_TUN_OWNER]);
    }
    const auto is_set = [&data](int attribute) {
        return data[attribute] && nla_get_u8(data[attribute]) != 0;
    };
    link.is_emulated_vf = data[IFLA_TUN_TYPE] && nla_get_u8(data[IFLA_TUN_TYPE]) == IFF_TAP &&
                          is_set(IFLA_TUN_VNET_HDR) && is_set(IFLA_TUN_PERSIST);
    if (data[IFLA_TUN_MULTI_QUEUE]) {
        link.tap_multi_queue = nla_get_u8(data[IFLA_TUN_MULTI_QUEUE]) != 0;
    }
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
    nlattr *attributes[IFLA_MAX + 1] = {};
    if (!nlmsg_valid_hdr(message, sizeof(ifinfomsg)) ||
        nlmsg_parse(message, sizeof(ifinfomsg), attributes, IFLA_MAX, nullptr) != 0 ||
        !attributes[IFLA_IFNAME]) {
        return std::nullopt;
    }
    const auto *header = static_cast<const ifinfomsg *>(nlmsg_data(message));
    Link link;
    link.ifindex = header->ifi_index;
    link.flags = header->ifi_flags;
    link.name = nla_get_string(attributes[IFLA_IFNAME]);
    if (attributes[IFLA_MASTER]) {
        link.master = static_cast<int>(nla_get_u32(attributes[IFLA_MASTER]));
    }
    if (attributes[IFLA_IFALIAS]) {
        link.alias = nla_get_string(attributes[IFLA_IFALIAS]);
    }
    if (attributes[IFLA_LINKINFO]) {
        parse_link_info(attributes[IFLA_LINKINFO], link);
    }
    return link;
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
