// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/mac.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"

namespace vdpa::agent::host {

/* A netdev as rtnetlink describes it (linux/if_link.h). */
struct Link {
    int ifindex = 0;
    std::string name;
    unsigned flags = 0;              // IFF_*
    std::string kind;                // IFLA_INFO_KIND: "tun" for a TAP; empty for hardware
    std::optional<int> master;       // ifindex of what it is attached to
    std::optional<uid_t> tap_owner;  // IFLA_TUN_OWNER; absent: anyone with CAP_NET_ADMIN
    std::string alias;               // IFLA_IFALIAS
    /* IFLA_TUN_TYPE is TAP, and it is persistent and has a virtio-net header. */
    bool is_emulated_vf = false;
    bool tap_multi_queue = false;  // IFLA_TUN_MULTI_QUEUE
    uint32_t mtu = 0;
    std::vector<std::string> altnames;  // IFLA_ALT_IFNAME; no other netdev gets one of them
    /* What it is on a switch: "p0", "pf0vf3"; and the switch, in hexadecimal. Empty: none. */
    std::string phys_port_name;
    std::string switch_id;
    /* The device that it is of, as in sysfs (IFLA_PARENT_DEV_*, Linux 5.14): "pci",
     * "0000:43:00.0". Empty for virtual netdevs. */
    std::string parent_bus;
    std::string parent_device;

    bool operator==(const Link &) const = default;
};

/* Reads a RTM_NEWLINK or RTM_DELLINK message. Nothing if it is malformed. */
std::optional<Link> parse_link(nlmsghdr *message);

/* MAC addresses of VFs, by number, from the answer to a request with RTEXT_FILTER_VF; nothing if
 * the message has none. The list is an attribute of at most 64 KiB, and the kernel lets its length
 * wrap around (rtnl_fill_vf() in net/core/rtnetlink.c): of some 270 VFs or more only the first are
 * there, and nothing else of such a message may be relied on. */
std::optional<std::map<uint32_t, std::string>> parse_vf_macs(nlmsghdr *message);
/* Of how many VFs that answer should tell (IFLA_NUM_VF, which comes before the list). */
uint32_t parse_vf_count(nlmsghdr *message);

/* An address of a netdev, as in a RTM_NEWADDR or RTM_DELADDR message. */
struct LinkAddress {
    int ifindex = 0;
    unsigned char family = 0;
    unsigned char prefix_length = 0;
    std::string bytes;

    /* One that the kernel gives every netdev that is up (RFC 4291). */
    bool is_link_local() const;
    auto operator<=>(const LinkAddress &) const = default;
};
std::optional<LinkAddress> parse_address(nlmsghdr *message);

/* Sets the size of the receive buffer in bytes, beyond the system's limit where that is allowed. 0
 * stands for 4 MiB: what some thousand netdevs notify while nobody reads. Returns a negative libnl
 * code. */
int set_receive_buffer(nl_sock *socket, int size);

/* Sends a request that parse_vf_macs() reads the answer to. Returns a negative libnl code. */
int request_vf_macs(nl_sock *socket, int ifindex);

/* What a netdev is to become. */
struct LinkSetup {
    std::string name;
    std::string alias;
    std::optional<Mac> address = {};  // none: as it is
    unsigned flags = 0;               // IFF_*, to be set beside those that are
};

/* Synchronous rtnetlink requests (rtnetlink(7)). Not thread-safe; each blocks for as long as the
 * kernel's rtnl lock takes. What is to be changed and is not there is an error that is_gone(). */
class Rtnl {
  public:
    static NetResult<Rtnl> open();

    /* The netdev of that name or altname, or nothing. */
    NetResult<std::optional<Link>> find(const std::string &name);
    NetResult<std::optional<Link>> find(int ifindex);

    /* All of it by one request, under one hold of the rtnl lock, in the order of the fields but for
     * the address, which comes first (do_setlink() in net/core/rtnetlink.c). What fails leaves what
     * was done before it. EEXIST: another netdev has the name. */
    NetResult<void> set_up_as(int ifindex, const LinkSetup &setup);
    NetResult<void> set_up(int ifindex, bool up);
    NetResult<void> set_mtu(int ifindex, uint32_t mtu);
    /* Before Linux 6.2 one that is up cannot be renamed (EBUSY). */
    NetResult<void> rename(int ifindex, const std::string &name);
    NetResult<void> add_altname(int ifindex, const std::string &name);
    NetResult<void> remove_altname(int ifindex, const std::string &name);

    /* MAC address of a VF, as its PF's netdev has it; nothing if it tells of no such VF, which on a
     * PF with many may yet be there (see parse_vf_macs()). */
    NetResult<std::optional<Mac>> vf_mac(int pf_ifindex, uint32_t vf);
    NetResult<void> set_vf_mac(int pf_ifindex, uint32_t vf, const Mac &mac);

    /* Deletes the netdev with that index. That there is none is no error. */
    NetResult<void> remove(int ifindex);

  private:
    NetResult<void> change_altname(int type, int ifindex, const std::string &name);

    explicit Rtnl(NetlinkSocket socket) : socket_(std::move(socket)) {}
    NetlinkSocket socket_;
};

}  // namespace vdpa::agent::host
