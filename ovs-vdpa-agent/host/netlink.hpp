// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

struct nl_msg;
struct nl_sock;

namespace vdpa::agent::host {

struct NlSocketDeleter {
    void operator()(nl_sock *socket) const;
};
struct NlMessageDeleter {
    void operator()(nl_msg *message) const;
};
using NlSocket = std::unique_ptr<nl_sock, NlSocketDeleter>;
using NlMessage = std::unique_ptr<nl_msg, NlMessageDeleter>;

/* Why a request did not work. */
struct NetlinkError {
    int code = 0;        // errno
    std::string detail;  // the kernel's extended acknowledgement if it gave one, then strerror

    /* There is no such object (any more). */
    bool is_gone() const;
};
template <typename T>
using NetResult = tl::expected<T, NetlinkError>;

/* A netlink(7) socket for requests that are waited for. Not thread-safe; a request blocks for as
 * long as the kernel takes to carry it out. */
class NetlinkSocket {
  public:
    static NetResult<NetlinkSocket> open(int protocol);

    /* Sends the request and waits for its end: the acknowledgement, or for a dump the last message.
     * `each` is called for every message of the answer and must not throw. EINTR: a dump changed
     * while it was read. */
    NetResult<void> run(nl_msg *request, const std::function<void(nlmsghdr *)> &each = {});

  private:
    explicit NetlinkSocket(NlSocket socket) : socket_(std::move(socket)) {}
    NlSocket socket_;
};

/* A family of generic netlink (Documentation/userspace-api/netlink/intro.rst). */
class GenericNetlink {
  public:
    /* Nothing if the kernel has no such family. */
    static NetResult<std::optional<GenericNetlink>> open(const char *family, uint8_t version);

    /* A request with a zeroed family header of `header` bytes; null without memory. */
    NlMessage request(uint8_t command, int flags = 0, size_t header = 0) const;
    NetResult<void> run(nl_msg *request, const std::function<void(nlmsghdr *)> &each = {}) {
        return socket_.run(request, each);
    }

  private:
    GenericNetlink(NetlinkSocket socket, int family, uint8_t version)
        : socket_(std::move(socket)), family_(family), version_(version) {}
    NetlinkSocket socket_;
    int family_;
    uint8_t version_;
};

/* What the last message of a dump (NLMSG_DONE) says of it: errno, or 0. */
int dump_error(nlmsghdr *done);

/* The error of a request that could not be put together. */
tl::unexpected<NetlinkError> no_memory();

}  // namespace vdpa::agent::host
