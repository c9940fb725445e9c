// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/accounts.hpp"

#include <grp.h>
#include <pwd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <vector>

namespace vdpa::agent::config {

namespace {

/* The highest number is no user but "leave as it is" to chown(2). */
std::optional<uint32_t> number(const std::string &text) {
    uint32_t value = 0;
    const char *const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end || value == UINT32_MAX) {
        return std::nullopt;
    }
    return value;
}

/* Calls one of the getXXnam_r functions with a buffer that is large enough. */
template <typename Entry, typename Id>
std::optional<Id> look_up(int (*get)(const char *, Entry *, char *, size_t, Entry **),
                          Id Entry::*id, const std::string &name) {
    if (const auto value = number(name)) {
        return *value;
    }
    constexpr size_t largest = size_t{1} << 20;
    for (std::vector<char> buffer(4096); buffer.size() <= largest;
         buffer.resize(buffer.size() * 4)) {
        Entry entry{};
        Entry *found = nullptr;
        const int error = get(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
        if (error != ERANGE) {
            return found ? std::optional<Id>(entry.*id) : std::nullopt;
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<uid_t> HostAccounts::user(const std::string &name) const {
    return look_up<passwd, uid_t>(getpwnam_r, &passwd::pw_uid, name);
}

std::optional<gid_t> HostAccounts::group(const std::string &name) const {
    return look_up<::group, gid_t>(getgrnam_r, &::group::gr_gid, name);
}

}  // namespace vdpa::agent::config
