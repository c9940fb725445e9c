// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pf_steps_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/* VFs that somebody uses: what is never done to them, and who is named. */
class PfDrainTest : public PfStepsTest {};

TEST_F(PfDrainTest, change_the_number_of_unused_vfs) {
    make_vfs(4);
    pf().eswitch = Pf::Eswitch::switchdev;
    EXPECT_EQ(all_steps(), (Steps{"up 3", "vfs 2", "end"}));
}

TEST_F(PfDrainTest, never_change_the_number_of_vfs_while_one_is_used) {
    make_vfs(4);
    pf().eswitch = Pf::Eswitch::switchdev;
    pf().uplinks.front().up = true;
    for (const uint32_t wanted : {0U, 2U, 8U}) {
        spec.num_vfs = wanted;
        used_by = {"vm1", "vm2"};
        EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
        EXPECT_THAT(refusal().detail,
                    AllOf(HasSubstr("0000:43:00.0"), HasSubstr("Interface vm1"),
                          HasSubstr("Interface vm2"), HasSubstr(std::to_string(wanted) + " VFs")));
        used_by.clear();
        EXPECT_TRUE(next());
    }
}

TEST_F(PfDrainTest, make_the_first_vfs_whoever_waits_for_them) {
    used_by = {"vm1"};
    EXPECT_EQ(text(**next()), "vfs 2");
}

TEST_F(PfDrainTest, never_change_the_eswitch_while_a_vf_is_used_by_a_row) {
    make_vfs(2);
    used_by = {"vm1"};
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("switchdev"), HasSubstr("Interface vm1")));
}

TEST_F(PfDrainTest, never_take_a_vf_whose_netdev_is_up_or_has_an_address) {
    make_vfs(2);
    function(vf_device(1))->netdev_in_use = true;
    function(vf_device(1))->netdev_up = true;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail,
                AllOf(HasSubstr("netdev vf1 of 0000:43:00.2"), HasSubstr("is up")));
    function(vf_device(1))->netdev_claimed = true;
    EXPECT_THAT(refusal().detail, HasSubstr("address"));
    spec.num_vfs = 4;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfDrainTest, take_vfs_that_they_made_though_udev_has_set_their_netdevs_up) {
    carry_out(**next());
    for (const uint32_t number : {0U, 1U}) {
        function(vf_device(number))->netdev_in_use = true;
        function(vf_device(number))->netdev_claimed = true;
    }
    // An agent that has just started knows no more than the inventory and the record.
    EXPECT_EQ(all_steps(), (Steps{"unbind 00.1", "unbind 00.2", "switchdev", "bind 00.1 mlx5_core",
                                  "bind 00.2 mlx5_core", "end", "up 3"}));
    pf().eswitch = Pf::Eswitch::legacy;
    function(vf_device(0))->netdev_in_use = true;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain) << "that was another time";
}

TEST_F(PfDrainTest, take_no_new_vfs_used_by_more_than_a_netdev) {
    carry_out(**next());
    used_by = {"vm1"};
    EXPECT_EQ(text(**next()), "end");
    used_by.clear();
    function(vf_device(0))->driver = "vfio-pci";
    EXPECT_EQ(text(**next()), "end");
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfDrainTest, take_no_vfs_that_came_into_use_while_a_drain_was_waited_for) {
    carry_out(**next());
    function(vf_device(0))->driver = "vfio-pci";
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    function(vf_device(0))->driver = "mlx5_core";
    function(vf_device(1))->netdev_in_use = true;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfDrainTest, take_no_vfs_made_by_others) {
    carry_out(**next());
    make_vfs(3);
    spec.num_vfs.reset();
    function(vf_device(0))->netdev_in_use = true;
    EXPECT_EQ(text(**next()), "end");
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfDrainTest, never_take_a_vf_that_a_program_may_have) {
    make_vfs(2);
    function(vf_device(0))->driver = "vfio-pci";
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("0000:43:00.1"), HasSubstr("vfio-pci")));
}

TEST_F(PfDrainTest, never_take_a_vf_that_a_vdpa_device_is_made_of) {
    make_vfs(2);
    VdpaDevice vdpa;
    vdpa.name = "v0";
    vdpa.management = "pci/0000:43:00.2";
    inventory.vdpa_devices = {vdpa};
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, HasSubstr("vDPA device v0"));
}

TEST_F(PfDrainTest, do_not_mind_functions_of_another_host) {
    make_vfs(1);
    spec.num_vfs = 1;
    Function theirs = pf().functions.front();
    theirs.id.controller = 1;
    theirs.device.reset();
    theirs.driver = "vfio-pci";
    theirs.netdev_in_use = true;
    pf().functions.push_back(theirs);
    EXPECT_EQ(all_steps(), (Steps{"unbind 00.1", "switchdev", "bind 00.1 mlx5_core", "up 3"}));
}

TEST_F(PfDrainTest, name_so_many_holders_as_a_sentence_can_bear) {
    make_vfs(2);
    for (int i = 0; i < 500; i++) {
        used_by.push_back("vm" + std::to_string(i));
    }
    const std::string detail = refusal().detail;
    EXPECT_THAT(detail, AllOf(HasSubstr("vm0"), HasSubstr("492 more"), Not(HasSubstr("vm9"))));
    EXPECT_LT(detail.size(), 512U);
}

}  // namespace
}  // namespace vdpa::agent::host
