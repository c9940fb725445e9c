// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/accounts.hpp"

#include <gtest/gtest.h>

#include "ovs-vdpa-agent/config/name_service.hpp"

namespace vdpa::agent::config {
namespace {

constexpr Account missing{Account::State::missing, 0};
constexpr Account found(id_t id) {
    return {Account::State::found, id};
}

TEST(NumericAccount, is_its_number) {
    EXPECT_EQ(numeric_account("0"), found(0));
    EXPECT_EQ(numeric_account("64055"), found(64055));
    EXPECT_EQ(numeric_account("4294967294"), found(4294967294));
}

TEST(NumericAccount, is_none_that_leaves_an_owner_as_it_is_or_is_too_large) {
    EXPECT_EQ(numeric_account("4294967295"), missing);
    EXPECT_EQ(numeric_account("99999999999"), missing);
}

TEST(NumericAccount, is_digits_only) {
    for (const char *text : {"", "qemu", "12x", "-1", "+1", " 1", "1 ", "0x10"}) {
        EXPECT_EQ(numeric_account(text), Account()) << text;
    }
}

TEST(NameService, finds_users_and_groups_by_name) {
    EXPECT_EQ(ask_name_service({AccountName::Kind::user, "root"}), found(0));
    EXPECT_EQ(ask_name_service({AccountName::Kind::group, "root"}), found(0));
    EXPECT_EQ(ask_name_service({AccountName::Kind::user, "no such user"}), missing);
    EXPECT_EQ(ask_name_service({AccountName::Kind::group, "no such group"}), missing);
}

}  // namespace
}  // namespace vdpa::agent::config
