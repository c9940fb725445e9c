// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>

namespace vdpa::agent::host {

/* The attributes of a netlink message or of a nested attribute, by type. What is asked for is none
 * when the attribute is absent or shorter than what it should hold, so that no message makes its
 * reader read past its end. */
template <int max>
class Attributes {
  public:
    /* Of what lies behind the headers of a message. */
    Attributes(nlmsghdr *message, int header_size) {
        is_valid_ = nlmsg_valid_hdr(message, header_size) != 0 &&
                    nlmsg_parse(message, header_size, table_.data(), max, nullptr) == 0;
    }
    explicit Attributes(nlattr *nested) {
        is_valid_ = nla_parse_nested(table_.data(), max, nested, nullptr) == 0;
    }

    bool is_valid() const { return is_valid_; }
    nlattr *get(int type) const { return is_valid_ ? table_[static_cast<size_t>(type)] : nullptr; }
    bool has(int type) const { return get(type) != nullptr; }

    template <typename T>
    std::optional<T> number(int type) const {
        nlattr *const attribute = get(type);
        if (!attribute || nla_len(attribute) < static_cast<int>(sizeof(T))) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, nla_data(attribute), sizeof value);
        return value;
    }
    /* Up to its first NUL, if it has one; empty where the attribute is absent. */
    std::string text(int type) const {
        nlattr *const attribute = get(type);
        if (!attribute) {
            return {};
        }
        const auto *const begin = static_cast<const char *>(nla_data(attribute));
        return {begin, ::strnlen(begin, static_cast<size_t>(nla_len(attribute)))};
    }

  private:
    std::array<nlattr *, max + 1> table_{};
    bool is_valid_ = false;
};

/* "02:00:00:00:00:01", "0c42a1": bytes in hexadecimal, what stands between them given. */
inline std::string hex_text(const void *bytes, size_t size, const char *separator) {
    static constexpr char digits[] = "0123456789abcdef";
    const auto *const begin = static_cast<const unsigned char *>(bytes);
    std::string text;
    for (size_t i = 0; i < size; i++) {
        if (i > 0) {
            text += separator;
        }
        text += digits[begin[i] >> 4U];
        text += digits[begin[i] & 0xfU];
    }
    return text;
}

/* A MAC address; empty if the attribute has not the length of one. */
inline std::string mac_text(nlattr *attribute) {
    constexpr int length = 6;
    return attribute && nla_len(attribute) == length ? hex_text(nla_data(attribute), length, ":")
                                                     : std::string();
}

}  // namespace vdpa::agent::host
