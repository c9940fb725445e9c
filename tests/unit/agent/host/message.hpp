// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace vdpa::agent::host {

/* A netlink message as the kernel composes it. */
class Message {
  public:
    /* With `header`, such as an ifinfomsg, behind the netlink header. */
    template <typename Header>
    Message(int type, const Header &header) : message_(nlmsg_alloc_size(1 << 17)) {
        nlmsg_put(message_.get(), 0, 0, type, 0, 0);
        nlmsg_append(message_.get(), const_cast<Header *>(&header), sizeof header, NLMSG_ALIGNTO);
    }
    /* Of a generic netlink family. */
    static Message generic(uint8_t command) {
        const genlmsghdr header{command, 1, 0};
        return {NLMSG_MIN_TYPE, header};
    }

    template <typename T>
    Message &number(int type, T value) & {
        nla_put(message_.get(), type, sizeof value, &value);
        return *this;
    }
    Message &text(int type, const std::string &value) & {
        nla_put_string(message_.get(), type, value.c_str());
        return *this;
    }
    Message &bytes(int type, const std::string &value) & {
        nla_put(message_.get(), type, static_cast<int>(value.size()), value.data());
        return *this;
    }
    Message &nested(int type, const std::function<void(Message &)> &fill) & {
        nlattr *const nest = nla_nest_start(message_.get(), type);
        fill(*this);
        // Not nla_nest_end(), which takes back what is longer than an attribute can be.
        const auto *const end = static_cast<const char *>(nlmsg_tail(get()));
        nest->nla_len = static_cast<uint16_t>(end - reinterpret_cast<const char *>(nest));
        return *this;
    }

    // The same of one that is being made.
    template <typename T>
    Message &&number(int type, T value) && {
        return std::move(number(type, value));
    }
    Message &&text(int type, const std::string &value) && { return std::move(text(type, value)); }
    Message &&bytes(int type, const std::string &value) && { return std::move(bytes(type, value)); }
    Message &&nested(int type, const std::function<void(Message &)> &fill) && {
        return std::move(nested(type, fill));
    }

    nlmsghdr *get() const { return nlmsg_hdr(message_.get()); }

  private:
    struct Deleter {
        void operator()(nl_msg *message) const { nlmsg_free(message); }
    };
    std::unique_ptr<nl_msg, Deleter> message_;
};

}  // namespace vdpa::agent::host
