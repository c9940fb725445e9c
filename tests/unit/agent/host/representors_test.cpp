// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/representors.hpp"

#include <linux/if.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/unit/agent/host/representor_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr const char *guest_mac = "02:00:00:00:00:01";

TEST_F(RepresentorTest, gets_the_interfaces_name_and_is_set_up) {
    const auto vf0 = make_representor(0);
    const auto done = open().ensure("vm1", vf0);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_TRUE(done->renamed);
    EXPECT_EQ(done->ifindex, vf0.ifindex);
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_TRUE(is_up(vf0));
    EXPECT_THAT(link(vf0.ifindex).altnames, ElementsAre("eth0"));
    EXPECT_EQ(recorded("vm1")->old_name, "eth0");
    EXPECT_EQ(recorded("vm1")->ifindex, vf0.ifindex);
    EXPECT_EQ(mac_of(0), "00:00:00:00:00:00") << "which the row does not ask for";
}

TEST_F(RepresentorTest, that_is_as_it_should_be_is_left_so_and_nothing_is_written) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    const auto before = link(vf0.ifindex);
    const auto written = std::filesystem::last_write_time(folder.path("owned.json"));
    const auto done = open().ensure("vm1", vf0);
    ASSERT_TRUE(done);
    EXPECT_FALSE(done->renamed);
    EXPECT_EQ(link(vf0.ifindex), before);
    EXPECT_EQ(nic.macs_set, 1U);
    EXPECT_EQ(std::filesystem::last_write_time(folder.path("owned.json")), written);
}

TEST_F(RepresentorTest, whose_mac_address_is_known_to_be_another_is_asked_for_it_only_after) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    vf0.known_mac = "00:00:00:00:00:00";
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(mac_of(0), guest_mac);
    EXPECT_EQ(nic.macs_read, 1U);
    // What was known may be old.
    vf0.known_mac = guest_mac;
    std::ofstream(folder.path("mac0")) << "02:00:00:00:00:99";
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(mac_of(0), guest_mac);
    vf0.known_mac.clear();
    nic.macs_set = 0;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(nic.macs_set, 0U);
}

TEST_F(RepresentorTest, that_is_named_as_the_interface_is_only_set_up) {
    const auto vf0 = make_representor(0);
    const auto done = open().ensure("eth0", vf0);
    ASSERT_TRUE(done);
    EXPECT_FALSE(done->renamed);
    EXPECT_TRUE(is_up(vf0));
    EXPECT_THAT(link(vf0.ifindex).altnames, IsEmpty());
    EXPECT_EQ(recorded("eth0")->old_name, "eth0");
}

TEST_F(RepresentorTest, that_is_up_already_is_renamed_too) {
    const auto vf0 = make_representor(0);
    set_up("eth0", true);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_TRUE(is_up(vf0));
}

TEST_F(RepresentorTest, that_udev_renames_in_mid_flight_is_renamed_again) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    rename_by_hand("vm1", "enp67s0f0r0");
    const auto done = open().ensure("vm1", vf0);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_TRUE(done->renamed);
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_EQ(recorded("vm1")->old_name, "enp67s0f0r0") << "what this host calls it";
}

TEST_F(RepresentorTest, that_is_attached_and_has_its_name_is_left_attached) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    attach("vm1");
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_TRUE(is_attached("vm1"));
}

TEST_F(RepresentorTest, that_was_renamed_by_hand_while_it_is_attached_loses_its_port_first) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    attach("vm1");
    rename_by_hand("vm1", "mine");
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_TRUE(is_up(vf0));
    EXPECT_FALSE(is_attached("vm1")) << "Open vSwitch will take it again";
}

TEST_F(RepresentorTest, whose_port_was_attached_under_another_name_loses_it) {
    const auto vf0 = make_representor(0);
    attach("eth0");
    rename_by_hand("eth0", "vm1");
    ASSERT_FALSE(nothing_is_wedged());
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_FALSE(is_attached("vm1"));
    EXPECT_TRUE(nothing_is_wedged());
}

TEST_F(RepresentorTest, that_is_attached_to_something_else_is_left_alone) {
    const auto vf0 = make_representor(0);
    attach("eth0");
    nic.is_ovs = false;
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::representor_failed);
    EXPECT_THAT(done.error().detail, HasSubstr("nomaster"));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_TRUE(is_attached("eth0"));
}

TEST_F(RepresentorTest, whose_port_cannot_be_deleted_waits_and_goes_on_later) {
    const auto vf0 = make_representor(0);
    attach("eth0");
    nic.remove_error = EPERM;
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::representor_failed);
    EXPECT_EQ(name_of(vf0), neutral_name(vf0.ifindex));
    nic.remove_error = 0;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_EQ(recorded("vm1")->old_name, "eth0");
}

TEST_F(RepresentorTest, that_another_row_names_is_never_renamed) {
    auto vf0 = make_representor(0);
    vf0.reserved_names = {"vm1", "eth0"};
    vf0.mac = guest_mac;
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::duplicate_device);
    EXPECT_THAT(done.error().detail, HasSubstr("Interface eth0"));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_FALSE(is_up(vf0));
    EXPECT_EQ(nic.macs_set, 0U);
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorTest, does_not_take_a_name_that_somebody_elses_netdev_has) {
    const auto vf0 = make_representor(0);
    make_foreign("vm1", true);
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::name_taken);
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_EQ(recorded("vm1"), std::nullopt);
    remove_by_hand("vm1");
    EXPECT_TRUE(open().ensure("vm1", vf0));
}

TEST_F(RepresentorTest, does_not_take_the_altname_of_somebody_elses_netdev) {
    const auto vf0 = make_representor(0);
    make_foreign("other", true);
    ASSERT_TRUE(Rtnl::open()->add_altname(find("other")->ifindex, "vm1"));
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::name_taken);
    EXPECT_THAT(find("other")->altnames, ElementsAre("vm1"));
}

TEST_F(RepresentorTest, takes_a_name_that_is_another_representors_old_one) {
    const auto vf0 = make_representor(0);
    const auto vf1 = make_representor(1);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    const auto done = open().ensure("eth0", vf1);
    ASSERT_TRUE(done) << done.error().detail;
    EXPECT_EQ(name_of(vf1), "eth0");
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_THAT(link(vf0.ifindex).altnames, IsEmpty());
}

TEST_F(RepresentorTest, takes_a_name_that_is_its_own_altname) {
    const auto vf0 = make_representor(0);
    ASSERT_TRUE(Rtnl::open()->add_altname(vf0.ifindex, "vm1"));
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
}

TEST_F(RepresentorTest, of_which_there_is_no_netdev_is_missing) {
    auto vf0 = make_representor(0);
    vf0.ifindex = 0;
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::representor_missing);
    vf0.ifindex = 1 << 20;
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::representor_missing);
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(RepresentorTest, whose_index_is_another_netdevs_by_now_is_missing) {
    const auto vf0 = make_representor(0);
    const auto vf1 = make_representor(1);
    nic.netdevs[*vf0.devlink_port] = vf1.ifindex;
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::representor_missing);
    nic.netdevs.erase(*vf0.devlink_port);
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::representor_missing);
    nic.netdev_error = EPERM;
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::representor_failed);
    EXPECT_EQ(name_of(vf0), "eth0");
}

TEST_F(RepresentorTest, of_a_driver_without_devlink_ports_is_known_by_its_index) {
    auto vf0 = make_representor(0);
    vf0.devlink_port.reset();
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "vm1");
    EXPECT_EQ(recorded("vm1")->port.devlink_port, std::nullopt);
}

TEST_F(RepresentorTest, has_its_functions_mac_set_before_it_gets_its_name) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    nic.mac_error = EBUSY;
    const auto refused = open().ensure("vm1", vf0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::mac_failed);
    EXPECT_THAT(refused.error().detail, HasSubstr(guest_mac));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_TRUE(recorded("vm1")->mac_set) << "before the act";
    nic.mac_error = 0;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(mac_of(0), guest_mac);
}

TEST_F(RepresentorTest, whose_device_takes_a_mac_and_does_not_keep_it_has_failed) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    nic.mac_sticks = false;
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::mac_failed);
    EXPECT_THAT(done.error().detail, HasSubstr("it is 00:00:00:00:00:00"));
}

TEST_F(RepresentorTest, has_its_functions_own_netdevs_held_down_with_the_mtu) {
    auto vf0 = make_representor(0);
    make_foreign("vf0", true);
    set_up("vf0", true);
    vf0.function_netdevs = {"gone", "vf0"};
    vf0.mtu = 9000;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(find("vf0")->flags & IFF_UP, 0U);
    EXPECT_EQ(find("vf0")->mtu, 9000U);
    EXPECT_EQ(link(vf0.ifindex).mtu, 1500U) << "which is Open vSwitch's to set";
}

TEST_F(RepresentorTest, whose_functions_netdev_is_attached_waits) {
    auto vf0 = make_representor(0);
    make_foreign("vf0", true);
    set_up("vf0", true);
    attach("vf0");
    vf0.function_netdevs = {"vf0"};
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::device_busy);
    EXPECT_NE(find("vf0")->flags & IFF_UP, 0U);
}

TEST_F(RepresentorTest, whose_functions_netdev_refuses_the_mtu_has_failed_and_says_why) {
    auto vf0 = make_representor(0);
    make_foreign("vf0", true);
    vf0.function_netdevs = {"vf0"};
    vf0.mtu = 1 << 20;
    const auto done = open().ensure("vm1", vf0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::representor_failed);
    EXPECT_THAT(done.error().detail, HasSubstr("netdev vf0"));
}

TEST_F(RepresentorTest, of_ovs_dpdk_is_left_alone_and_only_the_mac_is_set) {
    auto vf0 = make_representor(0);
    vf0.keep_netdev = true;
    vf0.mac = guest_mac;
    const auto before = link(vf0.ifindex);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(link(vf0.ifindex), before);
    EXPECT_EQ(mac_of(0), guest_mac);
    EXPECT_EQ(recorded("vm1")->ifindex, 0);
    ASSERT_TRUE(open().release("vm1", false, {}));
    EXPECT_EQ(link(vf0.ifindex), before);
    EXPECT_NE(mac_of(0), guest_mac);
}

TEST_F(RepresentorTest, whose_row_becomes_a_port_of_ovs_dpdk_is_given_back) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    vf0.keep_netdev = true;
    ASSERT_TRUE(open().ensure("vm1", vf0));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_EQ(mac_of(0), guest_mac);
}

TEST_F(RepresentorTest, is_not_touched_when_the_record_cannot_be_written_or_read) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    std::filesystem::create_directory(folder.path("owned.json.new"));
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::record_failed);
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_EQ(nic.macs_set, 0U);
    std::filesystem::create_directory(folder.path("owned.json"));
    EXPECT_EQ(open().ensure("vm1", vf0).error().reason, Reason::record_failed);
    EXPECT_EQ(open().release("vm1", false, {}).error().reason, Reason::record_failed);
    EXPECT_EQ(open().owned().error().reason, Reason::record_failed);
}

TEST_F(RepresentorTest, is_listed_with_its_function) {
    const auto vf0 = make_representor(0);
    const auto vf1 = make_representor(1);
    ASSERT_TRUE(open().ensure("vm1", vf0));
    ASSERT_TRUE(open().ensure("vm2", vf1));
    EXPECT_THAT(*open().owned(), ElementsAre(Pair("vm1", vf0.function), Pair("vm2", vf1.function)));
}

}  // namespace
}  // namespace vdpa::agent::host
