// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/netlink_faults.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace vdpa::agent::host {

namespace {

constexpr uint16_t no_such_type = RTM_MAX + 64;
constexpr uint32_t no_such_namespace = 0x7fff0000;

std::atomic<uint16_t> broken_type;
std::atomic<NetlinkFault> broken_how;
std::atomic<int> broken_left;
std::atomic<int> broken_met;

ssize_t send_as_it_is(int fd, const msghdr *message, int flags) {
    return ::syscall(SYS_sendmsg, fd, message, flags);
}

/* The request under another type, or with an attribute that makes its dump fail. */
ssize_t send_broken(int fd, const msghdr *message, int flags, NetlinkFault how) {
    std::array<char, 4096> changed{};
    const iovec &whole = message->msg_iov[0];
    const size_t length = whole.iov_len;
    if (length + RTA_LENGTH(sizeof no_such_namespace) > changed.size()) {
        errno = EMSGSIZE;
        return -1;
    }
    std::memcpy(changed.data(), whole.iov_base, length);
    auto *const header = reinterpret_cast<nlmsghdr *>(changed.data());
    if (how == NetlinkFault::refused) {
        header->nlmsg_type = no_such_type;
    } else {
        auto *const attribute =
            reinterpret_cast<rtattr *>(changed.data() + NLMSG_ALIGN(header->nlmsg_len));
        attribute->rta_type = IFLA_TARGET_NETNSID;
        attribute->rta_len = RTA_LENGTH(sizeof no_such_namespace);
        std::memcpy(RTA_DATA(attribute), &no_such_namespace, sizeof no_such_namespace);
        header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + attribute->rta_len;
    }
    iovec part{changed.data(), header->nlmsg_len};
    msghdr other = *message;
    other.msg_iov = &part;
    const ssize_t sent = send_as_it_is(fd, &other, flags);
    return sent < 0 ? sent : static_cast<ssize_t>(length);
}

}  // namespace

NetlinkFaults::NetlinkFaults(uint16_t type, NetlinkFault fault, int count) {
    broken_type = type;
    broken_how = fault;
    broken_met = 0;
    broken_left = count;
}

NetlinkFaults::~NetlinkFaults() {
    broken_left = 0;
}

int NetlinkFaults::met() {
    return broken_met;
}

}  // namespace vdpa::agent::host

/* In place of the C library's, also for shared libraries: libnl sends with it. */
extern "C" ssize_t sendmsg(int fd, const msghdr *message, int flags) {
    using namespace vdpa::agent::host;
    const auto *address = static_cast<const sockaddr *>(message->msg_name);
    const bool is_netlink = address && address->sa_family == AF_NETLINK && message->msg_iovlen == 1;
    const auto *header =
        is_netlink ? static_cast<const nlmsghdr *>(message->msg_iov[0].iov_base) : nullptr;
    if (!header || header->nlmsg_type != broken_type || broken_left.load() <= 0) {
        return send_as_it_is(fd, message, flags);
    }
    broken_left--;
    broken_met++;
    if (broken_how == NetlinkFault::none) {
        return send_as_it_is(fd, message, flags);
    }
    if (broken_how == NetlinkFault::not_sent) {
        errno = ENOBUFS;
        return -1;
    }
    return send_broken(fd, message, flags, broken_how);
}
