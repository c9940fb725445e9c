// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/netlink.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "schema/support/error.hpp"

struct nl_sock;

namespace vdpa::agent::host {

struct NlSocketDeleter {
    void operator()(nl_sock *socket) const;
};
using NlSocket = std::unique_ptr<nl_sock, NlSocketDeleter>;

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

    bool operator==(const Link &) const = default;
};

/* Reads a RTM_NEWLINK or RTM_DELLINK message. Nothing if it is malformed. */
std::optional<Link> parse_link(nlmsghdr *message);

/* Synchronous rtnetlink requests. Not thread-safe; each blocks for as long as the kernel's rtnl
 * lock takes. */
class Rtnl {
  public:
    /* Error: tap-failed. */
    static Expected<Rtnl> open();

    /* The netdev of that name, or nothing. Error: negative libnl code as a sentence. */
    Expected<std::optional<Link>> find(const std::string &name);
    Expected<std::optional<Link>> find(int ifindex);
    /* Error: negative libnl code as a sentence. */
    Expected<void> set_alias(int ifindex, const std::string &alias);
    /* Deletes the netdev with that index. That there is none is no error. */
    Expected<void> remove(int ifindex);

  private:
    Expected<std::optional<Link>> get(nl_msg *request, const std::string &what);

    explicit Rtnl(NlSocket socket) : socket_(std::move(socket)) {}
    NlSocket socket_;
};

}  // namespace vdpa::agent::host
