// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/netlink.hpp"

#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "schema/support/error.hpp"

namespace vdpa::agent::host {

namespace {

struct CallbackDeleter {
    void operator()(nl_cb *callback) const { nl_cb_put(callback); }
};
using NlCallback = std::unique_ptr<nl_cb, CallbackDeleter>;

/* What is known of the request under way. Messages that answer another, which was given up, are
 * told by their sequence number. */
struct Answer {
    uint32_t sequence = 0;
    bool done = false;
    int error = 0;         // errno
    std::string extended;  // of the error
    const std::function<void(nlmsghdr *)> *each = nullptr;
};

/* NLMSGERR_ATTR_MSG of an error, which follows it (linux/netlink.h); sockets ask for it and for
 * the request to be left out of it, which older kernels do not do. */
std::string extended_text(nlmsgerr *error) {
    auto *header = reinterpret_cast<nlmsghdr *>(reinterpret_cast<char *>(error) - NLMSG_HDRLEN);
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) {
        return {};
    }
    size_t skipped = sizeof *error;
    if ((header->nlmsg_flags & NLM_F_CAPPED) == 0 && error->msg.nlmsg_len >= NLMSG_HDRLEN) {
        skipped += NLMSG_ALIGN(error->msg.nlmsg_len - NLMSG_HDRLEN);
    }
    if (header->nlmsg_len < NLMSG_HDRLEN + skipped) {
        return {};
    }
    auto *first = reinterpret_cast<nlattr *>(reinterpret_cast<char *>(error) + skipped);
    const auto length = static_cast<int>(header->nlmsg_len - NLMSG_HDRLEN - skipped);
    const nlattr *text = nla_find(first, length, NLMSGERR_ATTR_MSG);
    if (!text) {
        return {};
    }
    const auto *data = static_cast<const char *>(nla_data(text));
    return {data, ::strnlen(data, static_cast<size_t>(nla_len(text)))};
}

int on_valid(nl_msg *message, void *out) noexcept {
    const auto &answer = *static_cast<Answer *>(out);
    nlmsghdr *header = nlmsg_hdr(message);
    if (header->nlmsg_seq == answer.sequence && *answer.each) {
        (*answer.each)(header);
    }
    return NL_OK;
}

int on_end(nl_msg *message, void *out) noexcept {
    auto &answer = *static_cast<Answer *>(out);
    nlmsghdr *header = nlmsg_hdr(message);
    if (header->nlmsg_seq != answer.sequence) {
        return NL_OK;
    }
    answer.done = true;
    if (const int error = header->nlmsg_type == NLMSG_DONE ? dump_error(header) : 0; error != 0) {
        answer.error = error;
    }
    return NL_STOP;
}

int on_error(sockaddr_nl * /*from*/, nlmsgerr *error, void *out) noexcept {
    auto &answer = *static_cast<Answer *>(out);
    if (error->msg.nlmsg_seq != answer.sequence) {
        return NL_SKIP;
    }
    answer.done = true;
    answer.error = -error->error;
    answer.extended = extended_text(error);
    return NL_STOP;
}

NetlinkError failed(int code, const std::string &extended = {}) {
    return {code, extended.empty() ? errno_text(code) : extended + " (" + errno_text(code) + ")"};
}

/* errno of what libnl itself makes codes of its own of. */
int errno_of(int libnl) {
    switch (libnl) {
        case -NLE_DUMP_INTR:
            return EINTR;
        case -NLE_NOMEM:
            return ENOBUFS;
        case -NLE_PERM:
            return EPERM;
        case -NLE_NOACCESS:
            return EACCES;
        default:
            return EIO;
    }
}

}  // namespace

void NlSocketDeleter::operator()(nl_sock *socket) const {
    nl_socket_free(socket);
}

void NlMessageDeleter::operator()(nl_msg *message) const {
    nlmsg_free(message);
}

bool NetlinkError::is_gone() const {
    return code == ENODEV || code == ENOENT || code == ESRCH || code == ENXIO;
}

/* See netlink_dump_done() of the kernel's af_netlink.c. */
int dump_error(nlmsghdr *done) {
    int error = 0;
    if (nlmsg_datalen(done) >= static_cast<int>(sizeof error)) {
        std::memcpy(&error, nlmsg_data(done), sizeof error);
    }
    return error < 0 ? -error : 0;
}

tl::unexpected<NetlinkError> no_memory() {
    return tl::make_unexpected(failed(ENOMEM));
}

NetResult<NetlinkSocket> NetlinkSocket::open(int protocol) {
    NlSocket socket(nl_socket_alloc());
    if (!socket) {
        return no_memory();
    }
    if (const int error = nl_connect(socket.get(), protocol); error < 0) {
        return tl::make_unexpected(failed(errno_of(error), nl_geterror(error)));
    }
    nl_socket_disable_seq_check(socket.get());
    const int on = 1;
    const int fd = nl_socket_get_fd(socket.get());
    (void)::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return NetlinkSocket(std::move(socket));
}

NetResult<void> NetlinkSocket::run(nl_msg *request, const std::function<void(nlmsghdr *)> &each) {
    if (const int error = nl_send_auto(socket_.get(), request); error < 0) {
        return tl::make_unexpected(failed(errno_of(error), nl_geterror(error)));
    }
    Answer answer;
    answer.sequence = nlmsg_hdr(request)->nlmsg_seq;
    answer.each = &each;
    const NlCallback callbacks(nl_cb_clone(NlCallback(nl_socket_get_cb(socket_.get())).get()));
    if (!callbacks) {
        return no_memory();
    }
    nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, on_valid, &answer);
    nl_cb_set(callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &answer);
    nl_cb_set(callbacks.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &answer);
    nl_cb_err(callbacks.get(), NL_CB_CUSTOM, on_error, &answer);
    while (!answer.done) {
        const int error = nl_recvmsgs(socket_.get(), callbacks.get());
        if (error == -NLE_DUMP_INTR) {
            answer.error = EINTR;
        } else if (error < 0 && !answer.done) {
            return tl::make_unexpected(failed(errno_of(error), nl_geterror(error)));
        }
    }
    if (answer.error != 0) {
        return tl::make_unexpected(failed(answer.error, answer.extended));
    }
    return {};
}

NetResult<std::optional<GenericNetlink>> GenericNetlink::open(const char *family, uint8_t version) {
    auto socket = NetlinkSocket::open(NETLINK_GENERIC);
    if (!socket) {
        return tl::make_unexpected(socket.error());
    }
    const NlMessage request(nlmsg_alloc());
    if (!request ||
        !genlmsg_put(request.get(), NL_AUTO_PORT, NL_AUTO_SEQ, GENL_ID_CTRL, 0, 0,
                     CTRL_CMD_GETFAMILY, 1) ||
        nla_put_string(request.get(), CTRL_ATTR_FAMILY_NAME, family) < 0) {
        return no_memory();
    }
    int id = 0;
    const auto done = socket->run(request.get(), [&id](nlmsghdr *header) {
        nlattr *attributes[CTRL_ATTR_MAX + 1] = {};
        if (genlmsg_parse(header, 0, attributes, CTRL_ATTR_MAX, nullptr) == 0 &&
            attributes[CTRL_ATTR_FAMILY_ID]) {
            id = nla_get_u16(attributes[CTRL_ATTR_FAMILY_ID]);
        }
    });
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    if (id == 0) {
        return std::nullopt;
    }
    return GenericNetlink(std::move(*socket), id, version);
}

NlMessage GenericNetlink::request(uint8_t command, int flags, size_t header) const {
    NlMessage message(nlmsg_alloc());
    if (message && !genlmsg_put(message.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family_,
                                static_cast<int>(header), flags, command, version_)) {
        message.reset();
    }
    return message;
}

}  // namespace vdpa::agent::host
