// SPDX-License-Identifier: Apache-2.0
#include "schema/options.hpp"

#include <gmock/gmock.h>

namespace vdpa::schema {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Parsed {
    InterfaceOptions options;
    std::vector<Error> errors;
};

Parsed parse(const StringMap &values) {
    Parsed parsed;
    parsed.options = parse_interface_options(values, parsed.errors);
    return parsed;
}

TEST(InterfaceOptions, EveryKeyIsRead) {
    const Parsed parsed = parse({{"vdpa-socket", "/run/vm1.sock"},
                                 {"vdpa-socket-mode", "client"},
                                 {"vdpa-socket-owner", "libvirt-qemu:kvm"},
                                 {"vdpa-socket-perms", "0600"},
                                 {"vdpa-accelerator-devargs", "0000:43:00.2"},
                                 {"vdpa-representor", "0000:43:00.0,vf0"},
                                 {"vdpa-sw", "true"},
                                 {"vdpa-max-queues", "4"},
                                 {"vdpa-packed", "false"},
                                 {"vdpa-vf-mac", "02:00:00:AA:00:01"}});
    EXPECT_THAT(parsed.errors, IsEmpty());
    EXPECT_EQ(parsed.options.socket, "/run/vm1.sock");
    EXPECT_EQ(parsed.options.socket_mode, SocketMode::client);
    EXPECT_EQ(parsed.options.socket_owner, (Owner{"libvirt-qemu", "kvm"}));
    EXPECT_EQ(parsed.options.socket_perms, 0600U);
    EXPECT_EQ(parsed.options.accelerator_devargs, "0000:43:00.2");
    EXPECT_EQ(parsed.options.representor, "0000:43:00.0,vf0");
    EXPECT_TRUE(parsed.options.sw);
    EXPECT_EQ(parsed.options.max_queues, 4U);
    EXPECT_FALSE(parsed.options.packed);
    EXPECT_EQ(parsed.options.vf_mac, "02:00:00:aa:00:01");
}

TEST(InterfaceOptions, AbsentKeysHaveTheDocumentedDefaults) {
    const Parsed parsed = parse({});
    EXPECT_THAT(parsed.errors, IsEmpty());
    EXPECT_EQ(parsed.options, InterfaceOptions{});
    EXPECT_EQ(parsed.options.socket_mode, SocketMode::server);
    EXPECT_EQ(parsed.options.max_queues, 1U);
    EXPECT_TRUE(parsed.options.packed);
    EXPECT_FALSE(parsed.options.sw);
}

TEST(InterfaceOptions, AnAliasStandsForItsKey) {
    EXPECT_EQ(parse({{"vdpa-socket-path", "/run/a"}}).options.socket, "/run/a");
}

TEST(InterfaceOptions, AnAliasThatDiffersFromItsKeyIsAnError) {
    const Parsed parsed = parse({{"vdpa-socket", "/run/a"}, {"vdpa-socket-path", "/run/b"}});
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_EQ(parsed.errors[0].reason, Reason::conflicting_keys);
}

struct BadValue {
    const char *key;
    const char *value;
    Reason reason;
};

class BadInterfaceOption : public testing::TestWithParam<BadValue> {};

TEST_P(BadInterfaceOption, IsNamedWithItsValueAndReason) {
    const BadValue &bad = GetParam();
    const Parsed parsed = parse({{bad.key, bad.value}});
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_EQ(parsed.errors[0].reason, bad.reason);
    EXPECT_THAT(parsed.errors[0].detail, HasSubstr(bad.key));
    EXPECT_THAT(parsed.errors[0].detail, HasSubstr(std::string("=") + bad.value));
    EXPECT_THAT(parsed.errors[0].detail, HasSubstr("must"));
}

const std::string path_of_108 = "/" + std::string(107, 'a');
const std::string owner_of_129(129, 'a');

INSTANTIATE_TEST_SUITE_P(
    Values, BadInterfaceOption,
    testing::Values(BadValue{"vdpa-socket", "run/vm1.sock", Reason::bad_socket_path},
                    BadValue{"vdpa-socket", "", Reason::bad_socket_path},
                    BadValue{"vdpa-socket", "/", Reason::bad_socket_path},
                    BadValue{"vdpa-socket", "/run/../etc/x", Reason::bad_socket_path},
                    BadValue{"vdpa-socket", path_of_108.c_str(), Reason::bad_socket_path},
                    BadValue{"vdpa-socket-mode", "Server", Reason::bad_socket_mode},
                    BadValue{"vdpa-socket-owner", ":", Reason::bad_socket_owner},
                    BadValue{"vdpa-socket-owner", "a:b:c", Reason::bad_socket_owner},
                    BadValue{"vdpa-socket-owner", "a:", Reason::bad_socket_owner},
                    BadValue{"vdpa-socket-owner", owner_of_129.c_str(), Reason::bad_socket_owner},
                    BadValue{"vdpa-socket-perms", "888", Reason::bad_socket_perms},
                    BadValue{"vdpa-socket-perms", "1777", Reason::bad_socket_perms},
                    BadValue{"vdpa-socket-perms", "-1", Reason::bad_socket_perms},
                    BadValue{"vdpa-sw", "yes", Reason::bad_boolean},
                    BadValue{"vdpa-packed", "1", Reason::bad_boolean},
                    BadValue{"vdpa-max-queues", "0", Reason::bad_max_queues},
                    BadValue{"vdpa-max-queues", "129", Reason::bad_max_queues},
                    BadValue{"vdpa-max-queues", "abc", Reason::bad_max_queues},
                    BadValue{"vdpa-max-queues", "4 ", Reason::bad_max_queues},
                    BadValue{"vdpa-max-queues", "99999999999999999999", Reason::bad_max_queues},
                    BadValue{"vdpa-vf-mac", "01:00:5e:00:00:01", Reason::bad_mac},
                    BadValue{"vdpa-vf-mac", "00:00:00:00:00:00", Reason::bad_mac},
                    BadValue{"vdpa-vf-mac", "02-00-00-00-00-01", Reason::bad_mac}));

TEST(InterfaceOptions, EveryBadValueIsReported) {
    EXPECT_EQ(parse({{"vdpa-sw", "x"}, {"vdpa-max-queues", "0"}}).errors.size(), 2U);
}

TEST(InterfaceOptions, APathOf107BytesIsTaken) {
    const std::string path = "/" + std::string(106, 'a');
    EXPECT_EQ(parse({{"vdpa-socket", path}}).options.socket, path);
}

TEST(GlobalOptions, SocketFoldersLoseTheirTrailingSlash) {
    std::vector<Error> errors;
    const auto options = parse_global_options(
        {{"vdpa-sock-dirs", "/run/openvswitch/:/var/lib/vhost_sockets"}}, errors);
    EXPECT_THAT(errors, IsEmpty());
    EXPECT_THAT(options.sock_dirs.value_or(std::vector<std::string>{}),
                ElementsAre("/run/openvswitch", "/var/lib/vhost_sockets"));
}

}  // namespace
}  // namespace vdpa::schema
