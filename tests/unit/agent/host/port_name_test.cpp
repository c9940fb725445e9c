// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/port_name.hpp"

#include <gtest/gtest.h>

namespace vdpa::agent::host {

/* For messages of failed tests. */
void PrintTo(const PortIdentity &identity, std::ostream *out) {
    *out << "kind " << static_cast<int>(identity.kind) << " number " << identity.number;
}

namespace {

using Kind = PortIdentity::Kind;

TEST(PortName, of_an_uplink_is_read) {
    for (const char *name : {"p0", "p1", "p65535", "p1s2", "l1p3", "l1p3s0"}) {
        const auto identity = parse_port_name(name);
        ASSERT_TRUE(identity) << name;
        EXPECT_EQ(identity->kind, Kind::uplink) << name;
    }
}

TEST(PortName, of_a_pf_is_read) {
    EXPECT_EQ(parse_port_name("pf1"), (PortIdentity{Kind::pf, {}, 1, Flavour::vf, 0}));
    EXPECT_EQ(parse_port_name("c1pf0"), (PortIdentity{Kind::pf, 1, 0, Flavour::vf, 0}));
}

TEST(PortName, of_a_function_is_read) {
    EXPECT_EQ(parse_port_name("pf0vf3"), (PortIdentity{Kind::function, {}, 0, Flavour::vf, 3}));
    EXPECT_EQ(parse_port_name("pf1sf88"), (PortIdentity{Kind::function, {}, 1, Flavour::sf, 88}));
    EXPECT_EQ(parse_port_name("c2pf1vf0"), (PortIdentity{Kind::function, 2, 1, Flavour::vf, 0}));
    EXPECT_EQ(parse_port_name("c1pf0sf4294967295"),
              (PortIdentity{Kind::function, 1, 0, Flavour::sf, 4294967295}));
    EXPECT_EQ(parse_port_name("7"), (PortIdentity{Kind::function, {}, {}, Flavour::vf, 7}));
}

TEST(PortName, of_anything_else_is_not_read) {
    for (const char *name :
         {"", "p", "pf", "c1", "c1p0", "pf0vf", "pf0vf65536", "pf0hpf", "pf0vf1x", "pf0vf1s2", "n0",
          "swp1", "eth0", "-1", "65536", "pf-1vf0", "cpf0vf0", "vf0", "pf0 vf0"}) {
        EXPECT_EQ(parse_port_name(name), std::nullopt) << name;
    }
}

}  // namespace
}  // namespace vdpa::agent::host
