// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/port_config.hpp"

#include <gmock/gmock.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <nlohmann/json.hpp>

namespace vdpa::agent::config {
namespace {

using schema::Reason;
using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class FakeAccounts : public Accounts {
  public:
    Account find(const AccountName &name) const override {
        const bool is_user = name.kind == AccountName::Kind::user;
        if (name.name == "slow") {
            return {};
        }
        if (name.name == (is_user ? "qemu" : "kvm")) {
            return {Account::State::found, is_user ? 64U : 104U};
        }
        return {Account::State::missing, 0};
    }
    void look_up(const AccountName &) override { FAIL() << "reading a row asks nobody"; }
    void forget(const AccountName &) override {}
};

/* A row that can be served, and what is made of it. */
class PortConfigTest : public testing::Test {
  protected:
    ParsedRow parse() const { return parse_row(row, host, FakeAccounts()); }
    schema::PortSpec spec() const {
        const ParsedRow parsed = parse();
        EXPECT_TRUE(parsed.config) << parsed.config.error().detail;
        return parsed.config ? parsed.config->engine : schema::PortSpec();
    }
    Error error() const {
        const ParsedRow parsed = parse();
        EXPECT_FALSE(parsed.config);
        return parsed.config ? Error{Reason::engine_error, ""} : parsed.config.error();
    }
    static auto notice_of(Reason reason) { return Contains(Field(&Error::reason, reason)); }

    ovs::InterfaceRow row = [] {
        ovs::InterfaceRow good;
        good.name = "vm1";
        good.bridge = "br0";
        good.options = {{"vdpa-socket", "/run/1.sock"}, {"vdpa-sw", "true"}};
        return good;
    }();
    HostConfig host;
};

TEST_F(PortConfigTest, has_the_documented_defaults) {
    schema::PortSpec expected;
    expected.name = "vm1";
    expected.socket.path = "/run/1.sock";
    expected.socket.perms = 0660;
    expected.device = {schema::DeviceKind::tap, "vm1"};
    expected.max_queues = 1;
    expected.packed = true;
    expected.offloads = true;
    EXPECT_EQ(spec(), expected);
    EXPECT_THAT(parse().notices, IsEmpty());
}

TEST_F(PortConfigTest, takes_every_key_from_either_column) {
    const schema::StringMap keys = {{"vdpa-socket-path", "/run/2.sock"},
                                    {"vdpa-socket-mode", "client"},
                                    {"vdpa-socket-owner", "qemu:kvm"},
                                    {"vdpa-socket-perms", "0777"},
                                    {"vdpa-sw", "true"},
                                    {"vdpa-max-queues", "128"},
                                    {"vdpa-packed", "false"}};
    row.options = keys;
    const schema::PortSpec of_options = spec();
    row.options.clear();
    row.external_ids = keys;
    EXPECT_EQ(spec(), of_options);
    EXPECT_EQ(of_options.socket.path, "/run/2.sock");
    EXPECT_EQ(of_options.socket.mode, schema::SocketMode::client);
    EXPECT_EQ(of_options.socket.uid, 64U);
    EXPECT_EQ(of_options.socket.gid, 104U);
    EXPECT_EQ(of_options.socket.perms, 0777U);
    EXPECT_EQ(of_options.max_queues, 128U);
    EXPECT_FALSE(of_options.packed);
}

TEST_F(PortConfigTest, takes_keys_from_both_columns_together) {
    row.options = {{"vdpa-socket", "/run/1.sock"}, {"vdpa-sw", "true"}};
    row.external_ids = {{"vdpa-max-queues", "4"}, {"vdpa-sw", "true"}};
    EXPECT_EQ(spec().max_queues, 4U);
}

TEST_F(PortConfigTest, does_not_take_columns_that_differ) {
    row.external_ids["vdpa-socket"] = "/run/other.sock";
    EXPECT_EQ(error().reason, Reason::conflicting_keys);
    EXPECT_THAT(error().detail, AllOf(HasSubstr("/run/1.sock"), HasSubstr("/run/other.sock")));
}

TEST_F(PortConfigTest, does_not_take_a_key_and_an_alias_that_differ) {
    row.external_ids["vdpa-socket-path"] = "/run/other.sock";
    EXPECT_EQ(error().reason, Reason::conflicting_keys);
}

TEST_F(PortConfigTest, takes_a_key_and_an_alias_that_agree) {
    row.external_ids["vdpa-socket-path"] = "/run/1.sock";
    EXPECT_EQ(spec().socket.path, "/run/1.sock");
}

struct Bad {
    const char *key;
    std::string value;
    Reason reason;
};

class BadValue : public PortConfigTest, public testing::WithParamInterface<Bad> {};

TEST_P(BadValue, is_named_with_its_key) {
    row.options[GetParam().key] = GetParam().value;
    EXPECT_EQ(error().reason, GetParam().reason);
    EXPECT_THAT(error().detail, HasSubstr(GetParam().key));
    EXPECT_LT(error().detail.size(), 1024U) << "who writes the row decides how long a value is";
}

INSTANTIATE_TEST_SUITE_P(
    Keys, BadValue,
    testing::Values(Bad{"vdpa-socket", "relative", Reason::bad_socket_path},
                    Bad{"vdpa-socket", "", Reason::bad_socket_path},
                    Bad{"vdpa-socket", "/run/", Reason::bad_socket_path},
                    Bad{"vdpa-socket", "/run/../x", Reason::bad_socket_path},
                    Bad{"vdpa-socket", "/" + std::string(107, 'x'), Reason::bad_socket_path},
                    Bad{"vdpa-socket", "/" + std::string(100'000, 'x'), Reason::bad_socket_path},
                    Bad{"vdpa-socket-mode", "both", Reason::bad_socket_mode},
                    Bad{"vdpa-socket-owner", "", Reason::bad_socket_owner},
                    Bad{"vdpa-socket-owner", "nobody-of-that-name", Reason::bad_socket_owner},
                    Bad{"vdpa-socket-owner", "qemu:no-such-group", Reason::bad_socket_owner},
                    Bad{"vdpa-socket-owner", "qemu:", Reason::bad_socket_owner},
                    Bad{"vdpa-socket-owner", "a:b:c", Reason::bad_socket_owner},
                    Bad{"vdpa-socket-perms", "0888", Reason::bad_socket_perms},
                    Bad{"vdpa-socket-perms", "1000", Reason::bad_socket_perms},
                    Bad{"vdpa-socket-perms", "u+rw", Reason::bad_socket_perms},
                    Bad{"vdpa-max-queues", "0", Reason::bad_max_queues},
                    Bad{"vdpa-max-queues", "129", Reason::bad_max_queues},
                    Bad{"vdpa-max-queues", "abc", Reason::bad_max_queues},
                    Bad{"vdpa-max-queues", "-1", Reason::bad_max_queues},
                    Bad{"vdpa-max-queues", "1.5", Reason::bad_max_queues},
                    Bad{"vdpa-max-queues", "99999999999999999999", Reason::bad_max_queues},
                    Bad{"vdpa-sw", "yes", Reason::bad_boolean},
                    Bad{"vdpa-packed", "1", Reason::bad_boolean},
                    Bad{"vdpa-vf-mac", "01:00:00:00:00:01", Reason::bad_mac},
                    Bad{"vdpa-vf-mac", "00:00:00:00:00:00", Reason::bad_mac},
                    Bad{"vdpa-vf-mac", "02:00:00:00:00", Reason::bad_mac}));

TEST_F(PortConfigTest, takes_a_path_of_107_bytes) {
    row.options["vdpa-socket"] = "/" + std::string(106, 'x');
    EXPECT_EQ(spec().socket.path.size(), 107U);
}

class BadName : public PortConfigTest, public testing::WithParamInterface<std::string> {};

TEST_P(BadName, of_no_netdev_is_named) {
    row.name = GetParam();
    EXPECT_EQ(error().reason, Reason::bad_name);
    EXPECT_LT(error().detail.size(), 1024U);
}

INSTANTIATE_TEST_SUITE_P(Names, BadName,
                         testing::Values("sixteen-bytes-xx", "", ".", "..", "a/b", "a:b", "a b",
                                         "a\tb", "vm%d", "a%", "\xc2\xa0",
                                         std::string(100'000, 'x')));

TEST_F(PortConfigTest, takes_a_name_of_fifteen_bytes) {
    row.name = "fifteen-bytes-x";
    EXPECT_EQ(spec().device.name, row.name);
}

TEST_F(PortConfigTest, takes_the_types_of_kernel_netdevs_only) {
    row.type = "system";
    EXPECT_EQ(spec().name, "vm1");
    for (const char *type : {"internal", "dpdkvhostuser", "patch", "vxlan"}) {
        row.type = type;
        EXPECT_EQ(error().reason, Reason::bad_type) << type;
    }
    row.type = std::string(100'000, 't');
    EXPECT_LT(error().detail.size(), 1024U);
}

TEST_F(PortConfigTest, takes_owner_and_permissions_from_the_host_s_defaults) {
    host.options.socket_owner = {"qemu", "kvm"};
    host.options.socket_perms = 0600;
    EXPECT_EQ(spec().socket.uid, 64U);
    EXPECT_EQ(spec().socket.gid, 104U);
    EXPECT_EQ(spec().socket.perms, 0600U);
    row.options["vdpa-socket-owner"] = ":kvm";
    row.options["vdpa-socket-perms"] = "0666";
    EXPECT_EQ(spec().socket.uid, std::nullopt) << "the host's owner is replaced as a whole";
    EXPECT_EQ(spec().socket.gid, 104U);
    EXPECT_EQ(spec().socket.perms, 0666U);
}

TEST_F(PortConfigTest, says_whose_account_is_not_known_yet) {
    row.options["vdpa-socket-owner"] = "qemu:slow";
    const ParsedRow parsed = parse();
    ASSERT_TRUE(parsed.config) << "what else the row says counts already";
    ASSERT_TRUE(parsed.unresolved);
    EXPECT_EQ(parsed.unresolved->reason, Reason::owner_unresolved);
    EXPECT_THAT(parsed.unresolved->detail,
                AllOf(HasSubstr("vdpa-socket-owner=qemu:slow: "), HasSubstr("(NSS)"),
                      HasSubstr("group slow"), HasSubstr("getent")));
}

TEST_F(PortConfigTest, says_of_the_host_s_default_that_it_is_not_known_yet) {
    host.options.socket_owner = {"slow", ""};
    ASSERT_TRUE(parse().unresolved);
    EXPECT_THAT(parse().unresolved->detail,
                HasSubstr("Open_vSwitch other_config:vdpa-socket-owner=slow: "));
}

TEST_F(PortConfigTest, does_not_wait_to_be_told_of_one_account_when_there_is_no_other) {
    row.options["vdpa-socket-owner"] = "slow:no-such-group";
    EXPECT_EQ(error().reason, Reason::bad_socket_owner);
}

TEST_F(PortConfigTest, tells_what_accounts_it_depends_on) {
    EXPECT_THAT(parse().accounts, IsEmpty());
    row.options["vdpa-socket-owner"] = "qemu:slow";
    EXPECT_THAT(parse().accounts,
                testing::UnorderedElementsAre(AccountName{AccountName::Kind::user, "qemu"},
                                              AccountName{AccountName::Kind::group, "slow"}));
}

TEST_F(PortConfigTest, does_not_take_a_socket_outside_of_the_allowed_folders) {
    host.options.sock_dirs = {"/var/lib/vhost"};
    EXPECT_EQ(error().reason, Reason::socket_dir_forbidden);
    row.options["vdpa-socket"] = "/var/lib/vhost/deep/1.sock";
    EXPECT_EQ(spec().socket.path, "/var/lib/vhost/deep/1.sock");
}

TEST_F(PortConfigTest, takes_no_socket_while_the_allowed_folders_cannot_be_read) {
    host = parse_host_config({{{"vdpa-sock-dirs", "run/openvswitch"}}, false});
    EXPECT_EQ(error().reason, Reason::bad_sock_dirs);
    EXPECT_THAT(error().detail, HasSubstr("other_config:vdpa-sock-dirs=run/openvswitch: must be"));
    host = parse_host_config({{{"vdpa-sock-dirs", "/run"}, {"vdpa-lcore-mask", "zz"}}, false});
    row.options["vdpa-socket"] = "/run/1.sock";
    EXPECT_EQ(spec().socket.path, "/run/1.sock");
}

TEST_F(PortConfigTest, withholds_offloads_where_the_bridge_cannot_carry_them_and_says_so) {
    row.datapath_type = "netdev";
    EXPECT_FALSE(spec().offloads);
    EXPECT_THAT(parse().notices, notice_of(Reason::offloads_withheld));
    EXPECT_THAT(parse().notices[0].detail,
                AllOf(HasSubstr("br0"), HasSubstr("userspace-tso-enable")));
}

TEST_F(PortConfigTest, offers_offloads_where_the_bridge_carries_them) {
    host.userspace_tso = true;
    for (const char *type : {"", "system", "netdev"}) {
        row.datapath_type = type;
        EXPECT_TRUE(spec().offloads) << type;
        EXPECT_THAT(parse().notices, IsEmpty()) << type;
    }
}

TEST_F(PortConfigTest, names_unknown_keys_of_both_columns_and_stops_nothing) {
    row.options["vdpa-queues"] = "4";
    row.external_ids["vdpa-sokcet"] = "x";
    row.external_ids["iface-id"] = "x";
    const ParsedRow parsed = parse();
    ASSERT_EQ(parsed.notices.size(), 2U);
    EXPECT_THAT(parsed.notices[0].detail, HasSubstr("options:vdpa-queues"));
    EXPECT_THAT(parsed.notices[1].detail, HasSubstr("external_ids:vdpa-sokcet"));
    EXPECT_TRUE(parsed.config);
}

TEST_F(PortConfigTest, does_not_mistake_its_own_status_for_unknown_keys) {
    for (const char *key : schema::interface_status_keys) {
        row.external_ids[key] = "x";
    }
    EXPECT_THAT(parse().notices, IsEmpty());
}

TEST_F(PortConfigTest, reads_from_its_status_where_it_was_served) {
    row.external_ids = {{"vdpa-served-socket", "/run/1.sock"},
                        {"vdpa-engine", "/run/engine.sock"},
                        {"vdpa-state", "running"}};
    EXPECT_EQ(parse().served_socket, "/run/1.sock");
    EXPECT_EQ(parse().engine, "/run/engine.sock");
    EXPECT_TRUE(parse().was_valid);
    row.external_ids = {{"vdpa-state", "invalid"}};
    EXPECT_FALSE(parse().was_valid);
    row.external_ids.clear();
    EXPECT_EQ(parse().served_socket, std::nullopt);
    EXPECT_FALSE(parse().was_valid);
}

TEST_F(PortConfigTest, of_a_bad_row_keeps_the_notices) {
    row.options["vdpa-socket"] = "relative";
    row.options["vdpa-queues"] = "4";
    EXPECT_EQ(error().reason, Reason::bad_socket_path);
    EXPECT_THAT(parse().notices, notice_of(Reason::unknown_key));
}

TEST_F(PortConfigTest, is_what_an_engine_takes) {
    row.options["vdpa-socket-owner"] = "qemu:kvm";
    EXPECT_TRUE(schema::decode_port_spec(encode(spec()), "port.apply"));
}

}  // namespace
}  // namespace vdpa::agent::config
