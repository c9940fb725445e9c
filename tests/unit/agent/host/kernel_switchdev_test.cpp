// SPDX-License-Identifier: Apache-2.0
// Acts on a switchdev NIC of netdevsim and on kernel Open vSwitch.
#include <linux/if.h>

#include <cerrno>

#include "tests/unit/agent/host/kernel_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = PfStep::Kind;

constexpr const char *guest_mac = "02:00:00:00:00:01";

TEST_F(NetdevsimTest, is_prepared_step_by_step_and_again_without_harm) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    const int before = representor(0);
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    EXPECT_EQ(representor(0), before);
    EXPECT_EQ(representor(2), 0);
    ASSERT_NO_FATAL_FAILURE(prepare(3)) << "the kernel makes VFs only where there are none";
    OwnedFile file = record();
    ASSERT_TRUE(file.load());
    EXPECT_EQ(file.get().pfs[handle], (OwnedPf{.num_vfs = 0, .was_legacy = true, .made_vfs = 3}));
    ASSERT_TRUE(acts().carry_out({.kind = Kind::end, .pf = handle}));
    ASSERT_TRUE(file.load());
    EXPECT_EQ(file.get().pfs[handle], (OwnedPf{.num_vfs = 0, .was_legacy = true}));
    const auto uplink = DevlinkRequests::open()->port(handle, 0);
    const int ifindex = (*uplink)->ifindex.value_or(0);
    ASSERT_TRUE(acts().carry_out({.kind = Kind::set_uplink_up, .pf = handle, .ifindex = ifindex}));
    EXPECT_NE(link(ifindex).flags & IFF_UP, 0U);
}

TEST_F(NetdevsimTest, says_why_it_does_not_do_what_it_is_told) {
    const auto vfs = acts().carry_out({.kind = Kind::set_num_vfs, .pf = handle, .num_vfs = 100000});
    ASSERT_FALSE(vfs);
    EXPECT_EQ(vfs.error().reason, Reason::pf_failed);
    EXPECT_THAT(vfs.error().detail, HasSubstr("netdevsim771: it cannot have 100000 VFs"));
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    const auto mac =
        DevlinkRequests::open()->set_function_mac(handle, *spec(0).devlink_port, Mac{2});
    ASSERT_FALSE(mac);
    EXPECT_EQ(mac.error().code, EOPNOTSUPP);
    EXPECT_THAT(mac.error().detail, HasSubstr("function")) << "the extended acknowledgement";
}

TEST_F(NetdevsimTest, has_its_representors_renamed_while_they_are_up) {
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    const auto wanted = spec(0);
    const std::string old_name = name_of(wanted.ifindex);
    ASSERT_TRUE(Rtnl::open()->set_up(wanted.ifindex, true));
    const auto done = open().ensure("vm1", wanted);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_EQ(name_of(wanted.ifindex), "vm1");
    EXPECT_NE(link(wanted.ifindex).flags & IFF_UP, 0U);
    EXPECT_THAT(link(wanted.ifindex).altnames, testing::Contains(old_name));
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(wanted.ifindex), old_name);
    EXPECT_EQ(link(wanted.ifindex).flags & IFF_UP, 0U);
}

TEST_F(NetdevsimTest, takes_macs_of_vfs_by_its_own_netdev) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    auto wanted = spec(1);
    wanted.mac = guest_mac;
    const auto done = open().ensure("vm1", wanted);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_EQ(vf_mac(1), guest_mac);
    EXPECT_EQ(vf_mac(0), "00:00:00:00:00:00");
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_NE(vf_mac(1), guest_mac);
    EXPECT_NE(vf_mac(1), "00:00:00:00:00:00");
}

TEST_F(NetdevsimTest, takes_macs_of_vfs_whatever_its_own_netdev_is_called_by_then) {
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    auto wanted = spec(0);
    wanted.mac = guest_mac;
    const auto done = open().ensure("vm1", wanted);
    ASSERT_TRUE(done) << done.error().detail;
    ASSERT_TRUE(Rtnl::open()->rename(wanted.pf_ifindex, "uplink0"));
    const auto released = open().release("vm1", false, {});
    EXPECT_TRUE(released) << released.error().detail;
    EXPECT_NE(vf_mac(0), guest_mac);
}

TEST_F(NetdevsimTest, takes_no_mac_of_a_vf_that_it_does_not_have) {
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    auto wanted = spec(0);
    wanted.function.number = 7;
    wanted.mac = guest_mac;
    const auto done = open().ensure("vm1", wanted);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::mac_failed);
    EXPECT_TRUE(open().release("vm1", false, {})) << "there is nothing to reset";
}

TEST_F(NetdevsimTest, is_gone_on_with_after_a_reset) {
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    auto wanted = spec(0);
    wanted.mac = guest_mac;
    ASSERT_TRUE(open().ensure("vm1", wanted));
    ASSERT_NO_FATAL_FAILURE(remove());
    EXPECT_EQ(open().ensure("vm1", wanted).error().reason, Reason::representor_missing);
    ASSERT_NO_FATAL_FAILURE(create());
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    auto again = spec(0);
    again.mac = guest_mac;
    const auto done = open().ensure("vm1", again);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_EQ(name_of(again.ifindex), "vm1");
    EXPECT_EQ(vf_mac(0), guest_mac);
    ASSERT_NO_FATAL_FAILURE(remove());
    EXPECT_TRUE(open().release("vm1", false, {}));
    EXPECT_THAT(*open().owned(), IsEmpty());
}

TEST_F(DatapathTest, knows_its_ports_by_number_netdev_and_name) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    const int vf0 = representor(0);
    ASSERT_EQ(attach(name_of(vf0)), 0);
    EXPECT_TRUE(is_port(vf0));
    EXPECT_FALSE(is_port(representor(1)));
    EXPECT_EQ(vports->finds(datapath, name_of(vf0)), true);
    EXPECT_EQ(vports->finds(datapath, name_of(representor(1))), false);
    EXPECT_EQ(*vports->find(vf0, vf0), std::nullopt) << "a netdev that is no datapath";
    EXPECT_EQ(master_of(vf0), "br771");
    const auto number = *vports->find(datapath, vf0);
    ASSERT_TRUE(vports->remove(datapath, *number));
    EXPECT_EQ(master_of(vf0), "");
    EXPECT_TRUE(vports->remove(datapath, *number)) << "which is not there any more";
}

TEST_F(DatapathTest, wedges_a_port_that_is_renamed_by_hand_and_that_is_cured) {
    ASSERT_NO_FATAL_FAILURE(prepare(1));
    const auto wanted = spec(0);
    ASSERT_EQ(attach(name_of(wanted.ifindex)), 0);
    ASSERT_TRUE(Rtnl::open()->rename(wanted.ifindex, "vm1"));
    EXPECT_EQ(vports->finds(datapath, "vm1"), false);
    EXPECT_NE(attach("vm1"), 0) << "so ovs-vswitchd could not add it";
    const auto done = open().ensure("vm1", wanted);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_FALSE(is_port(wanted.ifindex));
    EXPECT_EQ(attach("vm1"), 0);
    EXPECT_EQ(vports->finds(datapath, "vm1"), true);
    ASSERT_TRUE(open().ensure("vm1", wanted));
    EXPECT_TRUE(is_port(wanted.ifindex)) << "a port that works is left alone";
}

TEST_F(DatapathTest, lets_two_rows_swap_their_representors) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    auto vf0 = spec(0);
    auto vf1 = spec(1);
    const std::string old_name = name_of(vf0.ifindex);
    vf0.mac = vf1.mac = guest_mac;
    vf0.reserved_names = vf1.reserved_names = {"vm1", "vm2"};
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(open().ensure("vm2", vf1));
    ASSERT_EQ(attach("vm1"), 0);
    ASSERT_EQ(attach("vm2"), 0);
    for (int i = 0; i < 2; i++) {
        const auto first = open().ensure("vm1", i == 0 ? vf1 : vf0);
        ASSERT_TRUE(first) << first.error().detail;
        const auto second = open().ensure("vm2", i == 0 ? vf0 : vf1);
        ASSERT_TRUE(second) << second.error().detail;
        EXPECT_EQ(name_of(vf0.ifindex), i == 0 ? "vm2" : "vm1");
        EXPECT_EQ(name_of(vf1.ifindex), i == 0 ? "vm1" : "vm2");
        ASSERT_EQ(attach("vm1"), 0);
        ASSERT_EQ(attach("vm2"), 0);
        EXPECT_EQ(vports->finds(datapath, "vm1"), true);
        EXPECT_EQ(vports->finds(datapath, "vm2"), true);
        EXPECT_EQ(vf_mac(0), guest_mac);
    }
    EXPECT_EQ(open().release("vm1", false, {}).error().reason, Reason::ovs_detach);
    ASSERT_TRUE(open().release("vm1", true, {"vm1", "vm2"}));
    EXPECT_EQ(name_of(vf0.ifindex), old_name);
    EXPECT_EQ(name_of(vf1.ifindex), "vm2");
    EXPECT_TRUE(is_port(vf1.ifindex)) << "the other row's is not touched";
}

/* The same with a running ovs-vswitchd, that of OVS_RUNDIR, and its bridge br0. */
class VswitchdTest : public NetdevsimTest {
  protected:
    void SetUp() override {
        if (!run("ovs-vsctl --timeout=10 br-exists br0 2>/dev/null")) {
            GTEST_SKIP() << "needs ovs-vswitchd with bridge br0";
        }
        NetdevsimTest::SetUp();
    }
    void TearDown() override {
        if (created) {
            run("ovs-vsctl --if-exists del-port vm1 -- --if-exists del-port vm2");
        }
        NetdevsimTest::TearDown();
    }
    void add_ports() {
        // It warns of names that are no netdevs yet.
        run("ovs-vsctl add-port br0 vm1 -- add-port br0 vm2 2>/dev/null");
    }
    static bool is_served(const std::string &row) {
        const auto ofport = run("ovs-vsctl get Interface " + row + " ofport");
        const auto error = run("ovs-vsctl get Interface " + row + " error");
        return ofport && error == "[]" && !ofport->starts_with("-") && *ofport != "[]";
    }
    /* Whether the datapath has the netdev with that index as the port of that name. */
    bool is_port(const std::string &row, int ifindex) {
        auto opened = OvsVports::open();
        const auto found = link(ifindex);
        if (!opened || !*opened || !found.master || found.name != row) {
            return false;
        }
        const auto by_name = (*opened)->finds(*found.master, row);
        const auto number = (*opened)->find(*found.master, ifindex);
        return by_name && *by_name && number && *number;
    }
    bool become_ports(int vm1, int vm2) {
        return wait_for([&] {
            return is_port("vm1", vm1) && is_port("vm2", vm2) && is_served("vm1") &&
                   is_served("vm2");
        });
    }
};

TEST_F(VswitchdTest, takes_representors_that_are_named_and_those_that_are_swapped) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    auto vf0 = spec(0);
    auto vf1 = spec(1);
    vf0.reserved_names = vf1.reserved_names = {"vm1", "vm2"};
    add_ports();
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(open().ensure("vm2", vf1));
    ASSERT_TRUE(become_ports(vf0.ifindex, vf1.ifindex));
    const auto first = open().ensure("vm1", vf1);
    ASSERT_TRUE(first) << first.error().detail;
    const auto second = open().ensure("vm2", vf0);
    ASSERT_TRUE(second) << second.error().detail;
    EXPECT_TRUE(become_ports(vf1.ifindex, vf0.ifindex))
        << run("ovs-appctl dpctl/show").value_or("");
}

TEST_F(VswitchdTest, takes_another_representor_in_the_place_of_one) {
    ASSERT_NO_FATAL_FAILURE(prepare(3));
    const std::string old_name = name_of(representor(0));
    add_ports();
    ASSERT_TRUE(open().ensure("vm1", spec(0)));
    ASSERT_TRUE(open().ensure("vm2", spec(1)));
    ASSERT_TRUE(become_ports(representor(0), representor(1)));
    const auto number = run("ovs-vsctl get Interface vm2 ofport");
    const auto moved = open().ensure("vm1", spec(2));
    ASSERT_TRUE(moved) << moved.error().detail;
    EXPECT_TRUE(become_ports(representor(2), representor(1)));
    EXPECT_EQ(name_of(representor(0)), old_name);
    EXPECT_FALSE(link(representor(0)).master);
    EXPECT_EQ(run("ovs-vsctl get Interface vm2 ofport"), number) << "the other is not touched";
}

TEST_F(VswitchdTest, lets_go_before_a_representor_is_given_back) {
    ASSERT_NO_FATAL_FAILURE(prepare(2));
    const std::string old_name = name_of(representor(0));
    add_ports();
    ASSERT_TRUE(open().ensure("vm1", spec(0)));
    ASSERT_TRUE(open().ensure("vm2", spec(1)));
    ASSERT_TRUE(become_ports(representor(0), representor(1)));
    run("ovs-vsctl --no-wait del-port vm1");
    ASSERT_TRUE(wait_for([this] {
        const auto released = open().release("vm1", false, {"vm2"});
        EXPECT_TRUE(released || released.error().reason == Reason::ovs_detach);
        return released.has_value();
    }));
    EXPECT_EQ(name_of(representor(0)), old_name);
    // The name may be used again at once, by another.
    run("ovs-vsctl --no-wait del-port vm2 -- add-port br0 vm1");
    ASSERT_TRUE(wait_for([this] { return open().release("vm2", false, {}).has_value(); }));
    ASSERT_TRUE(open().ensure("vm1", spec(1)));
    EXPECT_TRUE(wait_for([this] { return is_port("vm1", representor(1)) && is_served("vm1"); }));
}

}  // namespace
}  // namespace vdpa::agent::host
