// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <compare>
#include <string>

namespace vdpa::agent::config {

/* A user or a group as somebody has written it. */
struct AccountName {
    enum class Kind { user, group };

    Kind kind = Kind::user;
    std::string name;

    /* As it is spoken of: "user qemu". */
    std::string text() const { return (kind == Kind::user ? "user " : "group ") + name; }
    auto operator<=>(const AccountName &) const = default;
};

/* What is known of one. */
struct Account {
    enum class State { unknown, missing, found };

    State state = State::unknown;
    id_t id = 0;  // when it is found

    bool operator==(const Account &) const = default;
};

/* What the digits of `name` come to, which need nobody's answer; unknown if it is no number. */
Account numeric_account(const std::string &name);

/* Users and groups of this host. */
class Accounts {
  public:
    virtual ~Accounts() = default;
    /* What is known of it, at once. Numbers always are. */
    virtual Account find(const AccountName &name) const = 0;
    /* Has it found out, anew if it is known; until there is another answer the last one holds. */
    virtual void look_up(const AccountName &name) = 0;
    /* Nobody names it any more. */
    virtual void forget(const AccountName &name) = 0;
};

}  // namespace vdpa::agent::config
