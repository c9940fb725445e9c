// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/accounts.hpp"

#include <gtest/gtest.h>

namespace vdpa::agent::config {
namespace {

TEST(HostAccounts, finds_users_and_groups_by_name) {
    const HostAccounts accounts;
    EXPECT_EQ(accounts.user("root"), 0U);
    EXPECT_EQ(accounts.group("root"), 0U);
    EXPECT_EQ(accounts.user("no such user"), std::nullopt);
    EXPECT_EQ(accounts.group("no such group"), std::nullopt);
}

TEST(HostAccounts, takes_numbers_whether_there_is_an_account_or_not) {
    const HostAccounts accounts;
    EXPECT_EQ(accounts.user("64055"), 64055U);
    EXPECT_EQ(accounts.group("4294967294"), 4294967294U);
}

TEST(HostAccounts, does_not_take_the_number_that_leaves_an_owner_as_it_is) {
    EXPECT_EQ(HostAccounts().user("4294967295"), std::nullopt);
}

TEST(HostAccounts, does_not_take_what_only_begins_with_a_number) {
    for (const char *text : {"12x", "-1", "+1", " 1", "1 ", "0x10", "99999999999"}) {
        EXPECT_EQ(HostAccounts().user(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace vdpa::agent::config
