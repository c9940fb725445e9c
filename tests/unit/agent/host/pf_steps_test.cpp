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

TEST_F(PfStepsTest, go_from_nothing_to_switchdev_with_vfs_in_the_order_of_mlx5) {
    EXPECT_EQ(all_steps(), (Steps{"vfs 2", "unbind 00.1", "unbind 00.2", "switchdev",
                                  "bind 00.1 mlx5_core", "bind 00.2 mlx5_core", "end", "up 3"}));
    ASSERT_TRUE(next());
    EXPECT_EQ(*next(), std::nullopt);
}

TEST_F(PfStepsTest, do_not_repeat_what_is_done) {
    make_vfs(2);
    pf().eswitch = Pf::Eswitch::switchdev;
    pf().uplinks.front().up = true;
    EXPECT_EQ(all_steps(), Steps{});
    EXPECT_TRUE(next());
}

TEST_F(PfStepsTest, go_on_after_a_crash_at_any_of_them) {
    const Steps whole = all_steps();
    for (size_t done = 0; done < whole.size(); done++) {
        pf().eswitch = Pf::Eswitch::legacy;
        pf().uplinks.front().up = false;
        make_vfs(0);
        record = {};
        for (size_t i = 0; i < done; i++) {
            carry_out(**next());
        }
        // An agent that has just started knows no more than the inventory and the record.
        EXPECT_EQ(all_steps(), Steps(whole.begin() + static_cast<long>(done), whole.end())) << done;
    }
}

TEST_F(PfStepsTest, take_as_many_vfs_as_there_are_where_no_number_is_given) {
    spec.num_vfs.reset();
    make_vfs(1);
    EXPECT_EQ(all_steps(), (Steps{"unbind 00.1", "switchdev", "bind 00.1 mlx5_core", "up 3"}));
}

TEST_F(PfStepsTest, need_no_vfs) {
    spec.num_vfs.reset();
    pf().total_vfs.reset();
    EXPECT_EQ(all_steps(), (Steps{"switchdev", "up 3"}));
}

TEST_F(PfStepsTest, leave_vfs_alone_that_had_no_driver) {
    vf_driver.clear();
    EXPECT_EQ(all_steps(), (Steps{"vfs 2", "switchdev", "end", "up 3"}));
}

TEST_F(PfStepsTest, of_netdevsim_have_no_vfs_to_unbind) {
    pf().driver = "netdevsim";
    pf().total_vfs = unlimited_vfs;
    make_vfs(2);
    for (Function &candidate : pf().functions) {
        candidate.device.reset();
    }
    EXPECT_EQ(all_steps(), (Steps{"switchdev", "up 3"}));
}

TEST_F(PfStepsTest, of_ice_make_vfs_after_the_eswitch) {
    pf().driver = "ice";
    vf_driver = "iavf";
    EXPECT_EQ(all_steps(), (Steps{"switchdev", "up 3", "vfs 2", "end"}));
    pf().eswitch = Pf::Eswitch::legacy;
    EXPECT_EQ(all_steps(), (Steps{"vfs 0", "switchdev", "end", "vfs 2", "end"}));
    pf().eswitch = Pf::Eswitch::legacy;
    spec.num_vfs.reset();
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, HasSubstr("num-vfs"));
}

TEST_F(PfStepsTest, of_nvme_make_vfs_and_say_that_there_is_no_eswitch) {
    pf().driver = "nvme";
    pf().eswitch = Pf::Eswitch::unsupported;
    pf().uplinks.clear();
    vf_driver = "nvme";
    EXPECT_EQ(all_steps(), (Steps{"vfs 2", "end"}));
    EXPECT_EQ(refusal().reason, Reason::eswitch_unsupported);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("0000:43:00.0"), HasSubstr("nvme")));
}

TEST_F(PfStepsTest, of_a_nic_without_eswitch_leave_its_netdev_alone) {
    pf().eswitch = Pf::Eswitch::unsupported;
    pf().driver = "i40e";
    make_vfs(2);
    EXPECT_EQ(all_steps(), Steps{});
    EXPECT_EQ(refusal().reason, Reason::eswitch_unsupported);
}

TEST_F(PfStepsTest, of_a_pf_without_a_driver_say_what_to_do_before_anything_is_tried) {
    pf().eswitch = Pf::Eswitch::unsupported;
    pf().driver.clear();
    EXPECT_EQ(all_steps(), Steps{});
    EXPECT_EQ(refusal().reason, Reason::pf_missing);
    EXPECT_THAT(refusal().detail,
                AllOf(HasSubstr("0000:43:00.0: no driver is bound"), HasSubstr("lspci -k -s"),
                      HasSubstr("driverctl unset-override 0000:43:00.0")));
}

TEST_F(PfStepsTest, bind_vfs_again_whatever_else_is_wrong) {
    make_vfs(4);
    pf().eswitch = Pf::Eswitch::switchdev;
    function(vf_device(1))->driver.clear();
    record.unbound[vf_device(1)] = "mlx5_core";
    used_by = {"vm1"};
    EXPECT_EQ(all_steps(), (Steps{"bind 00.2 mlx5_core", "up 3"}));
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain) << "four VFs in place of two";
}

TEST_F(PfStepsTest, are_undone_when_they_cannot_be_gone_on_with) {
    make_vfs(2);
    carry_out(**next());
    ASSERT_EQ(record.unbound.size(), 1U);
    function(vf_device(1))->netdev_in_use = true;
    EXPECT_EQ(all_steps(), Steps{"bind 00.1 mlx5_core"});
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    function(vf_device(1))->netdev_in_use = false;
    EXPECT_EQ(text(**next()), "unbind 00.1");
}

TEST_F(PfStepsTest, of_a_pf_that_is_left_alone_bind_its_vfs_again) {
    make_vfs(2);
    carry_out(**next());
    carry_out(**next());
    ASSERT_EQ(record.unbound.size(), 2U);
    Steps steps;
    for (auto step = step_back(inventory, pf0, record); step;
         step = step_back(inventory, pf0, record)) {
        steps.push_back(text(*step));
        carry_out(*step);
    }
    EXPECT_EQ(steps, (Steps{"bind 00.1 mlx5_core", "bind 00.2 mlx5_core"}));
    record.unbound[vf_device(7)] = "mlx5_core";
    EXPECT_EQ(text(*step_back(inventory, pf0, record)), "forget 00.8");
    EXPECT_FALSE(step_back(inventory, {"pci", "0000:99:00.0"}, record));
}

TEST_F(PfStepsTest, forget_a_vf_that_somebody_else_has_bound_meanwhile) {
    make_vfs(2);
    pf().eswitch = Pf::Eswitch::switchdev;
    function(vf_device(0))->driver = "vfio-pci";
    record.unbound[vf_device(0)] = "mlx5_core";
    EXPECT_EQ(all_steps(), (Steps{"bind 00.1 mlx5_core", "up 3"}));
    EXPECT_EQ(function(vf_device(0))->driver, "vfio-pci");
}

TEST_F(PfStepsTest, forget_a_vf_that_has_gone) {
    make_vfs(2);
    pf().eswitch = Pf::Eswitch::switchdev;
    record.unbound[vf_device(1)] = record.unbound[vf_device(7)] = "mlx5_core";
    function(vf_device(1))->driver.clear();
    EXPECT_EQ(all_steps(), (Steps{"bind 00.2 mlx5_core", "forget 00.8", "up 3"}));
    // In legacy mode, too, when it cannot be gone on with.
    pf().eswitch = Pf::Eswitch::legacy;
    record.unbound[vf_device(7)] = "mlx5_core";
    used_by = {"vm1"};
    EXPECT_EQ(all_steps(), Steps{"forget 00.8"});
}

TEST_F(PfStepsTest, leave_a_vf_that_has_gone_to_one_pf_and_one_that_is_there_alone) {
    make_vfs(2);
    pf().eswitch = Pf::Eswitch::switchdev;
    pf().uplinks.front().up = true;
    // Of a PF that is not known yet, as long as its eswitch was not asked.
    const Handle vf{"pci", "0000:99:00.2"};
    record.unbound[vf] = "mlx5_core";
    inventory.others = {vf};
    EXPECT_EQ(all_steps(), Steps{});
    inventory.others.clear();
    Pf other;
    other.handle = {"pci", "0000:99:00.0"};
    inventory.pfs.push_back(other);
    EXPECT_FALSE(step_back(inventory, pf0, record));
    EXPECT_EQ(text(*step_back(inventory, other.handle, record)), "forget 00.2");
    // Its whole adapter has gone.
    inventory.pfs.pop_back();
    EXPECT_EQ(all_steps(), Steps{"forget 00.2"});
}

TEST_F(PfStepsTest, of_an_eswitch_that_cannot_be_read_wait_until_it_can) {
    make_vfs(4);
    pf().eswitch = Pf::Eswitch::unread;
    pf().eswitch_error = "Cannot allocate memory";
    record.unbound[vf_device(1)] = "mlx5_core";
    function(vf_device(1))->driver.clear();
    EXPECT_EQ(all_steps(), Steps{"bind 00.2 mlx5_core"}) << "nobody waits for his VF meanwhile";
    EXPECT_EQ(refusal().reason, Reason::eswitch_unread);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("0000:43:00.0"), HasSubstr("Cannot allocate"),
                                        HasSubstr("devlink dev eswitch show pci/0000:43:00.0")));
    pf().eswitch = Pf::Eswitch::switchdev;
    EXPECT_EQ(all_steps(), (Steps{"up 3", "vfs 2", "end"}));
}

TEST_F(PfStepsTest, of_a_pf_that_is_left_alone_end_what_was_begun) {
    carry_out(**next());
    const auto end = step_back(inventory, pf0, record);
    ASSERT_TRUE(end);
    EXPECT_EQ(text(*end), "end");
    carry_out(*end);
    EXPECT_FALSE(step_back(inventory, pf0, record));
    function(vf_device(0))->netdev_in_use = true;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain) << "named again, it may have got a user";
}

TEST_F(PfStepsTest, say_which_settings_to_look_at_where_there_is_no_sr_iov) {
    for (const auto &total : {std::optional<uint32_t>(), std::optional(0U), std::optional(1U)}) {
        pf().total_vfs = total;
        EXPECT_EQ(refusal().reason, Reason::sriov_unsupported);
        EXPECT_THAT(refusal().detail,
                    AllOf(HasSubstr("mlxconfig -d 0000:43:00.0"), HasSubstr("SRIOV_EN"),
                          HasSubstr("NUM_OF_VFS"), HasSubstr("UCTX_EN"), HasSubstr("asks for 2")));
    }
    pf().driver = "nvme";
    EXPECT_EQ(refusal().reason, Reason::sriov_unsupported);
    EXPECT_THAT(refusal().detail, Not(HasSubstr("mlxconfig")));
}

TEST_F(PfStepsTest, of_what_is_not_there_wait_for_it) {
    spec.handle.device = "0000:99:00.0";
    EXPECT_EQ(refusal().reason, Reason::pf_missing);
    EXPECT_THAT(refusal().detail, HasSubstr("0000:99:00.0"));
}

TEST_F(PfStepsTest, of_what_is_no_pf_say_what_it_is) {
    make_vfs(2);
    spec.handle = vf_device(1);
    EXPECT_EQ(refusal().reason, Reason::not_a_pf);
    EXPECT_THAT(refusal().detail,
                AllOf(HasSubstr("0000:43:00.2"), HasSubstr("0000:43:00.0,pf0vf1")));
    inventory.others = {{"pci", "0000:01:00.0"}};
    spec.handle = inventory.others.front();
    EXPECT_EQ(refusal().reason, Reason::not_a_pf);
    EXPECT_THAT(refusal().detail, HasSubstr("SRIOV_EN"));
}

}  // namespace
}  // namespace vdpa::agent::host
