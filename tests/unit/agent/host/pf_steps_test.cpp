// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ovs-vdpa-agent/host/pf_service.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Kind = PfStep::Kind;

const Handle pf0{"pci", "0000:43:00.0"};

/* A machine that does what it is told. */
class PfStepsTest : public testing::Test {
  protected:
    PfStepsTest() {
        Pf pf;
        pf.handle = pf0;
        pf.driver = "mlx5_core";
        pf.total_vfs = 8;
        pf.eswitch = Pf::Eswitch::legacy;
        pf.uplinks = {{.ifindex = 3, .netdev = "enp67s0f0np0", .up = false}};
        inventory.pfs.push_back(pf);
    }
    Pf &pf() { return inventory.pfs.front(); }
    static Handle vf_device(uint32_t number) {
        return {"pci", "0000:43:00." + std::to_string(number + 1)};
    }

    void make_vfs(uint32_t count) {
        pf().num_vfs = count;
        pf().functions.clear();
        for (uint32_t number = 0; number < count; number++) {
            Function function;
            function.id = {.pf = pf0,
                           .controller = {},
                           .pf_number = 0,
                           .flavour = Flavour::vf,
                           .number = number};
            function.device = vf_device(number);
            function.driver = vf_driver;
            function.netdevs = {"vf" + std::to_string(number)};
            pf().functions.push_back(function);
        }
    }
    Function *function(const Handle &device) {
        for (Function &candidate : pf().functions) {
            if (candidate.device == device) {
                return &candidate;
            }
        }
        return nullptr;
    }

    Expected<std::optional<PfStep>> next() { return next_step(inventory, spec, used_by, record); }
    Error refusal() {
        const auto step = next();
        EXPECT_FALSE(step);
        return step ? Error{} : step.error();
    }

    void carry_out(const PfStep &step) {
        switch (step.kind) {
            case Kind::set_num_vfs:
                make_vfs(step.num_vfs);
                record.made[pf0] = step.num_vfs;
                break;
            case Kind::unbind_vf:
                record.unbound[step.vf] = function(step.vf)->driver;
                function(step.vf)->driver.clear();
                function(step.vf)->netdevs.clear();
                break;
            case Kind::set_switchdev:
                pf().eswitch = Pf::Eswitch::switchdev;
                break;
            case Kind::bind_vf:
                if (function(step.vf)->driver.empty()) {
                    function(step.vf)->driver = step.driver;
                }
                record.unbound.erase(step.vf);
                break;
            case Kind::forget_vf:
                EXPECT_FALSE(function(step.vf));
                record.unbound.erase(step.vf);
                break;
            case Kind::set_uplink_up:
                for (Pf::Uplink &uplink : pf().uplinks) {
                    uplink.up = uplink.up || uplink.ifindex == step.ifindex;
                }
                break;
            case Kind::end:
                record.made.erase(pf0);
                break;
        }
    }
    static std::string text(const PfStep &step) {
        switch (step.kind) {
            case Kind::set_num_vfs:
                return "vfs " + std::to_string(step.num_vfs);
            case Kind::unbind_vf:
                return "unbind " + step.vf.device.substr(8);
            case Kind::set_switchdev:
                return "switchdev";
            case Kind::bind_vf:
                return "bind " + step.vf.device.substr(8) + " " + step.driver;
            case Kind::forget_vf:
                return "forget " + step.vf.device.substr(8);
            case Kind::end:
                return "end";
            default:
                return "up " + std::to_string(step.ifindex);
        }
    }
    /* The steps up to the end or the error. */
    std::vector<std::string> all_steps() {
        std::vector<std::string> steps;
        for (auto step = next(); step && *step; step = next()) {
            EXPECT_EQ((*step)->pf, pf0);
            steps.push_back(text(**step));
            if (steps.size() > 50) {
                ADD_FAILURE() << "no end of it";
                break;
            }
            carry_out(**step);
        }
        return steps;
    }

    Inventory inventory;
    PfSpec spec{pf0, 2};
    std::vector<std::string> used_by;
    PfRecord record;
    std::string vf_driver = "mlx5_core";
};

using Steps = std::vector<std::string>;

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

TEST_F(PfStepsTest, change_the_number_of_unused_vfs) {
    make_vfs(4);
    pf().eswitch = Pf::Eswitch::switchdev;
    EXPECT_EQ(all_steps(), (Steps{"up 3", "vfs 2", "end"}));
}

TEST_F(PfStepsTest, never_change_the_number_of_vfs_while_one_is_used) {
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

TEST_F(PfStepsTest, make_the_first_vfs_whoever_waits_for_them) {
    used_by = {"vm1"};
    EXPECT_EQ(text(**next()), "vfs 2");
}

TEST_F(PfStepsTest, never_change_the_eswitch_while_a_vf_is_used_by_a_row) {
    make_vfs(2);
    used_by = {"vm1"};
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("switchdev"), HasSubstr("Interface vm1")));
}

TEST_F(PfStepsTest, never_take_a_vf_whose_netdev_is_up_or_has_an_address) {
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

TEST_F(PfStepsTest, take_vfs_that_they_made_though_udev_has_set_their_netdevs_up) {
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

TEST_F(PfStepsTest, take_no_new_vfs_used_by_more_than_a_netdev) {
    carry_out(**next());
    used_by = {"vm1"};
    EXPECT_EQ(text(**next()), "end");
    used_by.clear();
    function(vf_device(0))->driver = "vfio-pci";
    EXPECT_EQ(text(**next()), "end");
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfStepsTest, take_no_vfs_that_came_into_use_while_a_drain_was_waited_for) {
    carry_out(**next());
    function(vf_device(0))->driver = "vfio-pci";
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    function(vf_device(0))->driver = "mlx5_core";
    function(vf_device(1))->netdev_in_use = true;
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
}

TEST_F(PfStepsTest, take_no_vfs_made_by_others) {
    carry_out(**next());
    make_vfs(3);
    spec.num_vfs.reset();
    function(vf_device(0))->netdev_in_use = true;
    EXPECT_EQ(text(**next()), "end");
    carry_out(**next());
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
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

TEST_F(PfStepsTest, never_take_a_vf_that_a_program_may_have) {
    make_vfs(2);
    function(vf_device(0))->driver = "vfio-pci";
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, AllOf(HasSubstr("0000:43:00.1"), HasSubstr("vfio-pci")));
}

TEST_F(PfStepsTest, never_take_a_vf_that_a_vdpa_device_is_made_of) {
    make_vfs(2);
    VdpaDevice vdpa;
    vdpa.name = "v0";
    vdpa.management = "pci/0000:43:00.2";
    inventory.vdpa_devices = {vdpa};
    EXPECT_EQ(refusal().reason, Reason::pf_needs_drain);
    EXPECT_THAT(refusal().detail, HasSubstr("vDPA device v0"));
}

TEST_F(PfStepsTest, do_not_mind_functions_of_another_host) {
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

TEST_F(PfStepsTest, name_so_many_holders_as_a_sentence_can_bear) {
    make_vfs(2);
    for (int i = 0; i < 500; i++) {
        used_by.push_back("vm" + std::to_string(i));
    }
    const std::string detail = refusal().detail;
    EXPECT_THAT(detail, AllOf(HasSubstr("vm0"), HasSubstr("492 more"), Not(HasSubstr("vm9"))));
    EXPECT_LT(detail.size(), 512U);
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
