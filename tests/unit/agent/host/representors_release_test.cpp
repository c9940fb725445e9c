// SPDX-License-Identifier: Apache-2.0
#include <linux/if.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/representors.hpp"
#include "tests/unit/agent/host/representor_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::IsEmpty;

constexpr const char *guest_mac = "02:00:00:00:00:01";

class RepresentorReleaseTest : public RepresentorTest {
  protected:
    RepresentorSpec make_served(const std::string &row, uint32_t vf) {
        auto spec = make_representor(vf);
        spec.mac = guest_mac;
        const auto done = open().ensure(row, spec);
        EXPECT_TRUE(done) << done.error().detail;
        return spec;
    }
    bool is_random_local(const std::string &text) {
        const auto mac = parse_mac(text);
        return mac && text != guest_mac && ((*mac)[0] & 3U) == 2;
    }
};

TEST_F(RepresentorReleaseTest, gives_its_name_back_and_replaces_the_mac) {
    const auto vf0 = make_served("vm1", 0);
    const auto vf1 = make_served("vm2", 1);
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_FALSE(is_up(vf0));
    EXPECT_THAT(link(vf0.ifindex).altnames, IsEmpty());
    EXPECT_TRUE(is_random_local(mac_of(0))) << mac_of(0);
    EXPECT_EQ(recorded("vm1"), std::nullopt);
    EXPECT_EQ(name_of(vf1), "vm2");
    EXPECT_TRUE(is_up(vf1));
    EXPECT_EQ(mac_of(1), guest_mac);
}

TEST_F(RepresentorReleaseTest, of_one_without_a_mac_leaves_the_mac) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(mac_of(0), "00:00:00:00:00:00");
}

TEST_F(RepresentorReleaseTest, of_a_row_that_has_none_does_nothing) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(open().release("eth0", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
}

TEST_F(RepresentorReleaseTest, waits_until_open_vswitch_has_let_go) {
    const auto vf0 = make_served("vm1", 0);
    attach("vm1");
    const auto early = open().release("vm1", false, {});
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().reason, Reason::ovs_detach);
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_TRUE(is_up(vf0));
    EXPECT_EQ(mac_of(0), guest_mac);
    EXPECT_TRUE(recorded("vm1"));
    detach("vm1");
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
}

TEST_F(RepresentorReleaseTest, of_a_row_that_goes_on_takes_it_from_open_vswitch) {
    const auto vf0 = make_served("vm1", 0);
    attach("vm1");
    ASSERT_TRUE(open().release("vm1", true, {"vm1"}));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_FALSE(is_attached("eth0"));
    EXPECT_TRUE(nothing_is_wedged());
}

TEST_F(RepresentorReleaseTest, of_a_row_that_goes_on_does_not_leave_it_the_rows_name) {
    const auto vf0 = make_served("eth0", 0);
    ASSERT_TRUE(open().release("eth0", true, {"eth0"}));
    EXPECT_EQ(name_of(vf0), neutral_name(vf0.ifindex));
    EXPECT_FALSE(find("eth0"));
}

TEST_F(RepresentorReleaseTest, of_a_row_that_is_gone_leaves_a_name_that_was_its_own) {
    const auto vf0 = make_served("eth0", 0);
    ASSERT_TRUE(open().release("eth0", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_FALSE(is_up(vf0));
}

TEST_F(RepresentorReleaseTest, gives_no_name_back_that_another_row_has) {
    const auto vf0 = make_served("vm1", 0);
    ASSERT_TRUE(open().release("vm1", false, {"eth0"}));
    EXPECT_EQ(name_of(vf0), neutral_name(vf0.ifindex));
    EXPECT_FALSE(is_up(vf0));
}

TEST_F(RepresentorReleaseTest, gives_no_name_back_that_another_netdev_has) {
    const auto vf0 = make_served("vm1", 0);
    ASSERT_TRUE(Rtnl::open()->remove_altname(vf0.ifindex, "eth0"));
    make_foreign("eth0", true);
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), neutral_name(vf0.ifindex));
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorReleaseTest, of_one_that_has_gone_forgets_it) {
    const auto vf0 = make_served("vm1", 0);
    remove_by_hand("vm1");
    nic.netdevs.erase(*vf0.devlink_port);
    nic.mac_error = ENODEV;
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorReleaseTest, does_not_touch_a_netdev_that_has_the_index_by_now) {
    const auto vf0 = make_served("vm1", 0);
    nic.netdevs[*vf0.devlink_port] = vf0.ifindex + 1;
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorReleaseTest, without_devlink_ports_knows_it_by_its_names) {
    auto vf0 = make_representor(0);
    vf0.devlink_port.reset();
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(Rtnl::open()->remove_altname(vf0.ifindex, "eth0"));
    rename_by_hand("vm1", "other");
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "other") << "nothing says that it is the same";
}

TEST_F(RepresentorReleaseTest, is_not_forgotten_while_nobody_can_tell_whether_it_is_ours) {
    const auto vf0 = make_served("vm1", 0);
    nic.netdev_error = EPERM;
    EXPECT_EQ(open().release("vm1", false, {}).error().reason, Reason::representor_failed);
    EXPECT_TRUE(recorded("vm1"));
    nic.netdev_error = 0;
    EXPECT_TRUE(open().release("vm1", false, {}));
}

TEST_F(RepresentorReleaseTest, leaves_a_name_that_the_operator_gave) {
    const auto vf0 = make_served("vm1", 0);
    rename_by_hand("vm1", "mine");
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), "mine");
    EXPECT_FALSE(is_up(vf0));
}

TEST_F(RepresentorReleaseTest, leaves_one_alone_that_was_renamed_for_another_row) {
    const auto vf0 = make_served("vm1", 0);
    rename_by_hand("vm1", "mine");
    set_up("mine", true);
    attach("mine");
    ASSERT_TRUE(open().release("vm1", true, {"mine", "vm1"}));
    EXPECT_EQ(name_of(vf0), "mine");
    EXPECT_TRUE(is_up(vf0));
    EXPECT_TRUE(is_attached("mine"));
}

TEST_F(RepresentorReleaseTest, whose_mac_cannot_be_replaced_is_tried_again) {
    const auto vf0 = make_served("vm1", 0);
    nic.mac_error = EBUSY;
    const auto refused = open().release("vm1", false, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::mac_failed);
    EXPECT_TRUE(recorded("vm1"));
    nic.mac_error = 0;
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_TRUE(is_random_local(mac_of(0)));
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorReleaseTest, of_a_device_that_never_took_a_mac_address_ends) {
    auto vf0 = make_representor(0);
    vf0.mac = "02:00:00:00:00:01";
    const auto before = mac_of(0);
    nic.mac_error = EOPNOTSUPP;
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::mac_failed);
    const auto done = open().release("vm1", false, {});
    EXPECT_TRUE(done) << "nobody could use the VF any more: " << done.error().detail;
    EXPECT_EQ(recorded("vm1"), std::nullopt);
    EXPECT_EQ(mac_of(0), before);
}

TEST_F(RepresentorReleaseTest, comes_first_when_a_row_changes_its_function) {
    const auto vf0 = make_served("vm1", 0);
    attach("vm1");
    const auto vf1 = make_representor(1);
    const auto done = open().ensure("vm1", vf1);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_FALSE(is_up(vf0));
    EXPECT_FALSE(is_attached("eth0"));
    EXPECT_TRUE(is_random_local(mac_of(0)));
    EXPECT_EQ(name_of(vf1), "vm1");
    EXPECT_TRUE(is_up(vf1));
    EXPECT_EQ(recorded("vm1")->ifindex, vf1.ifindex);
}

TEST_F(RepresentorReleaseTest, does_not_happen_when_the_row_cannot_have_what_it_asks_for) {
    const auto vf0 = make_served("vm1", 0);
    attach("vm1");
    auto vf1 = make_representor(1);
    vf1.reserved_names = {"vm1", "eth1"};
    ASSERT_FALSE(open().ensure("vm1", vf1));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_TRUE(is_attached("vm1"));
}

TEST_F(RepresentorReleaseTest, is_not_needed_of_the_same_function_after_a_reset) {
    make_served("vm1", 0);
    remove_by_hand("vm1");
    auto again = make_representor(0);
    again.mac = guest_mac;
    ASSERT_TRUE(open().ensure("vm1", again));
    EXPECT_EQ(name_of(again), "vm1");
    EXPECT_EQ(mac_of(0), guest_mac);
    EXPECT_EQ(recorded("vm1")->ifindex, again.ifindex);
}

TEST_F(RepresentorReleaseTest, lets_two_rows_swap_their_attached_representors) {
    auto vf0 = make_served("vm1", 0);
    auto vf1 = make_served("vm2", 1);
    attach("vm1");
    attach("vm2");
    vf0.reserved_names = vf1.reserved_names = {"vm1", "vm2"};
    const auto first = open().ensure("vm1", vf1);
    ASSERT_TRUE(first) << first.error().detail;
    const auto second = open().ensure("vm2", vf0);
    ASSERT_TRUE(second) << second.error().detail;
    EXPECT_EQ(name_of(vf0), "vm2");
    EXPECT_EQ(name_of(vf1), "vm1");
    EXPECT_TRUE(nothing_is_wedged());
    EXPECT_EQ(mac_of(0), guest_mac);
    EXPECT_EQ(mac_of(1), guest_mac);
    EXPECT_EQ(recorded("vm1")->old_name, "eth1");
    EXPECT_EQ(recorded("vm2")->old_name, "eth0");
    attach("vm1");
    attach("vm2");
    EXPECT_TRUE(nothing_is_wedged());
    // And back to what they were called at first.
    detach("vm1");
    detach("vm2");
    ASSERT_TRUE(open().release("vm1", false, {}));
    ASSERT_TRUE(open().release("vm2", false, {}));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_EQ(name_of(vf1), "eth1");
}

TEST_F(RepresentorReleaseTest, lets_two_rows_swap_representors_that_are_called_as_they_are) {
    auto vf0 = make_served("eth0", 0);
    auto vf1 = make_served("eth1", 1);
    attach("eth0");
    attach("eth1");
    vf0.reserved_names = vf1.reserved_names = {"eth0", "eth1"};
    const auto first = open().ensure("eth0", vf1);
    ASSERT_TRUE(first) << first.error().detail;
    const auto second = open().ensure("eth1", vf0);
    ASSERT_TRUE(second) << second.error().detail;
    EXPECT_EQ(name_of(vf0), "eth1");
    EXPECT_EQ(name_of(vf1), "eth0");
    EXPECT_TRUE(nothing_is_wedged());
}

TEST_F(RepresentorReleaseTest, lets_a_row_take_what_was_given_back_with_a_neutral_name) {
    const auto vf0 = make_served("eth0", 0);
    ASSERT_TRUE(open().release("eth0", true, {"eth0"}));
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_THAT(link(vf0.ifindex).altnames, IsEmpty());
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(name_of(vf0), neutral_name(vf0.ifindex));
}

}  // namespace
}  // namespace vdpa::agent::host
