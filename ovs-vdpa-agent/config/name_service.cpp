// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/name_service.hpp"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

namespace vdpa::agent::config {

namespace {

/* Whether that says nothing of whether there is such an account. What else getpwnam_r(3) may
 * return, ECONNREFUSED of a service that is configured but not in use among it, is said of accounts
 * that there are not. */
bool is_passing(int error) {
    return error == EAGAIN || error == EINTR || error == EIO || error == ETIMEDOUT ||
           error == EMFILE || error == ENFILE || error == ENOMEM || error == ERANGE;
}

/* Calls one of the getXXnam_r functions with a buffer that is large enough. */
template <typename Entry, typename Id>
std::optional<Account> ask(int (*get)(const char *, Entry *, char *, size_t, Entry **),
                           Id Entry::*id, const std::string &name) {
    constexpr size_t largest = size_t{1} << 20;
    int error = ERANGE;
    for (std::vector<char> buffer(4096); error == ERANGE && buffer.size() <= largest;
         buffer.resize(buffer.size() * 4)) {
        Entry entry{};
        Entry *found = nullptr;
        error = get(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
        if (found) {
            return Account{Account::State::found, entry.*id};
        }
    }
    return is_passing(error) ? std::nullopt : std::optional(Account{Account::State::missing, 0});
}

}  // namespace

std::optional<Account> ask_name_service(const AccountName &name) {
    return name.kind == AccountName::Kind::user
               ? ask<passwd, uid_t>(getpwnam_r, &passwd::pw_uid, name.name)
               : ask<::group, gid_t>(getgrnam_r, &::group::gr_gid, name.name);
}

}  // namespace vdpa::agent::config
