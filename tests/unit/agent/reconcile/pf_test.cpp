// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/* PFs that vdpa-pfs names. */
class PreparedPfs : public Stack {
  protected:
    static constexpr const char *sim = "netdevsim/netdevsim10";

    void set_pfs(const std::string &value) { set_other_config({{"vdpa-pfs", value}}); }
    void set_on_vf(const std::string &name, uint32_t vf) {
        set(name,
            on("/run/" + name, "vdpa:vdpasim_net", std::string(sim) + ",vf" + std::to_string(vf)));
    }
};

TEST_F(PreparedPfs, get_their_vfs_and_switchdev_mode) {
    host.add_netdevsim();
    set_pfs("netdevsim/netdevsim10,num-vfs=2");
    start();
    const host::Pf &pf = host.inventory.pfs.front();
    EXPECT_EQ(pf.num_vfs, 2U);
    EXPECT_EQ(pf.eswitch, host::Pf::Eswitch::switchdev);
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
    ASSERT_EQ(board->host().pfs.size(), 1U);
    EXPECT_EQ(board->host().pfs[0].reason, std::nullopt);
}

TEST_F(PreparedPfs, with_ports_in_any_order) {
    for (const bool pf_first : {true, false}) {
        SCOPED_TRACE(pf_first);
        host.inventory = {};
        host.add_netdevsim();
        host.add_management("vdpasim_net");
        if (pf_first) {
            set_pfs("netdevsim/netdevsim10,num-vfs=2");
        }
        start();
        set_on_vf("vm1", 1);
        settle();
        if (!pf_first) {
            EXPECT_EQ(state("vm1"), "waiting");
            EXPECT_THAT(reason("vm1"), testing::AnyOf("pf-legacy", "device-missing"));
            set_pfs("netdevsim/netdevsim10,num-vfs=2");
            settle();
        }
        EXPECT_EQ(state("vm1"), "listening");
        EXPECT_EQ(host.netdev(1), "vm1");
        remove("vm1");
        settle();
        set_pfs("");
        settle();
    }
}

TEST_F(PreparedPfs, that_are_not_there_are_waited_for_and_said) {
    host.add_management("vdpasim_net");
    set_pfs("netdevsim/netdevsim10,num-vfs=2");
    start();
    EXPECT_EQ(host_status("vdpa-host-reason"), "pf-missing");
    EXPECT_THAT(host_status("vdpa-host-detail"), HasSubstr(sim));
    set_on_vf("vm1", 0);
    settle();
    EXPECT_EQ(reason("vm1"), "pf-missing");
    host.add_netdevsim();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, whose_eswitch_cannot_be_read_are_waited_for_and_it_is_said_why) {
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    host.inventory.pfs.front().eswitch = host::Pf::Eswitch::unread;
    host.inventory.pfs.front().eswitch_error = "Cannot allocate memory";
    for (const bool is_named : {false, true}) {
        set_pfs(is_named ? "netdevsim/netdevsim10,num-vfs=2" : "");
        if (!is_named) {
            start();
        }
        set_on_vf("vm1", 1);
        settle();
        EXPECT_EQ(state("vm1"), "waiting");
        EXPECT_EQ(reason("vm1"), "eswitch-unread");
        EXPECT_THAT(detail("vm1"), HasSubstr("Cannot allocate memory"));
    }
    EXPECT_EQ(host_status("vdpa-host-reason"), "eswitch-unread");
    EXPECT_EQ(host.inventory.pfs.front().num_vfs, 0U) << "what is not known is not changed";
    host.change([this] {
        host.inventory.pfs.front().eswitch = host::Pf::Eswitch::legacy;
        host.inventory.pfs.front().eswitch_error.clear();
    });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, ports_say_that_their_pf_is_being_prepared) {
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start_agent();
    open_database();
    engine.connect();
    host.hold();
    set_on_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    EXPECT_EQ(reason("vm1"), "pf-preparing");
    EXPECT_THAT(detail("vm1"), HasSubstr(sim));
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, in_use_are_not_changed_and_it_is_said_what_holds_them) {
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    set_pfs("netdevsim/netdevsim10,num-vfs=2");
    start();
    set_on_vf("vm1", 0);
    settle();
    ASSERT_EQ(state("vm1"), "listening");
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    settle();
    EXPECT_EQ(host.inventory.pfs.front().num_vfs, 2U);
    EXPECT_EQ(host_status("vdpa-host-reason"), "pf-needs-drain");
    EXPECT_THAT(host_status("vdpa-host-detail"), HasSubstr("vm1"));
    EXPECT_EQ(state("vm1"), "listening");
    remove("vm1");
    settle();
    EXPECT_EQ(host.inventory.pfs.front().num_vfs, 1U);
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, of_which_the_record_tells_are_not_changed_until_it_is_known_what_is_served) {
    host.add_pf(2);
    // As of a row of type dpdk, whose netdev keeps its name.
    host.record["vm1"] = {host.vf(0).id, ""};
    // Was good when an engine was told.
    set("vm1", on("/run/vm1.sock", "nonsense"));
    set_pfs("0000:43:00.0,num-vfs=1");
    start_agent();
    open_database();
    settle();
    ASSERT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(host.inventory.pfs[0].num_vfs, 2U);
}

TEST_F(PreparedPfs, are_not_all_that_a_host_may_have_trouble_with) {
    start();
    host.change([this] { host.inventory.problems = {"netdevs cannot be listed: no memory"}; });
    settle();
    EXPECT_EQ(host_status("vdpa-host-reason"), "host-unread");
    EXPECT_EQ(host_status("vdpa-host-detail"), "netdevs cannot be listed: no memory");
    host.change([this] { host.inventory.problems.clear(); });
    settle();
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, that_were_reset_are_prepared_anew_for_their_ports) {
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    set_pfs("netdevsim/netdevsim10,num-vfs=2");
    start();
    set_on_vf("vm1", 0);
    set_on_vf("vm2", 1);
    settle();
    ASSERT_EQ(state("vm2"), "listening");
    host.change([this] { host.inventory.pfs.clear(); });
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "pf-missing");
    host.add_netdevsim();
    settle();
    EXPECT_EQ(host.inventory.pfs.front().num_vfs, 2U);
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(host.netdev(1), "vm2");
}

TEST_F(PreparedPfs, whose_step_fails_are_tried_again_and_the_reason_stays) {
    backoff = quick_retries;
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    host.step_error = [](const host::PfStep &step) {
        return step.kind == host::PfStep::Kind::set_switchdev
                   ? std::optional(Error{schema::Reason::pf_failed, "the kernel said no"})
                   : std::nullopt;
    };
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start_agent();
    open_database();
    engine.connect();
    set_on_vf("vm1", 0);
    EXPECT_TRUE(until([this] { return host.count("pf switchdev") >= 4; }));
    EXPECT_EQ(host_status("vdpa-host-reason"), "pf-failed");
    EXPECT_THAT(host_status("vdpa-host-detail"), HasSubstr("the kernel said no"));
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_EQ(reason("vm1"), "pf-failed");
    host.step_error = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(PreparedPfs, whose_step_fails_are_tried_again_though_the_record_could_not_be_read) {
    backoff = {std::chrono::milliseconds(100), std::chrono::milliseconds(100)};
    host.add_netdevsim();
    host.step_error = [](const host::PfStep &) { return Error{schema::Reason::pf_failed, "no"}; };
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start();
    // Another step, while the first waits for its retry.
    host.record_error = Error{schema::Reason::record_failed, "no space"};
    set_pfs("netdevsim/netdevsim10,num-vfs=2");
    EXPECT_TRUE(until([this] { return host_status("vdpa-host-reason") == "record-failed"; }));
    const size_t count = host.count("pf vfs");
    host.record_error.reset();
    EXPECT_TRUE(until([this, count] { return host.count("pf vfs") >= count + 2; }));
    EXPECT_EQ(host_status("vdpa-host-reason"), "pf-failed");
}

TEST_F(PreparedPfs, whose_step_fails_are_not_tried_again_at_once) {
    host.add_netdevsim();
    host.step_error = [](const host::PfStep &) { return Error{schema::Reason::pf_failed, "no"}; };
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start();
    EXPECT_EQ(host.count("pf"), 1U);
}

TEST_F(PreparedPfs, are_looked_at_anew_after_each_step_for_nothing_tells_of_some) {
    host.add_netdevsim();
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start_agent();
    settle();
    host.auto_publish = false;
    open_database();
    settle();
    EXPECT_THAT(host.calls, ElementsAre("pf vfs", "pf switchdev", "pf end"));
    EXPECT_EQ(refreshed, 3U);
    EXPECT_EQ(board->host().pfs[0].reason, std::nullopt);
}

TEST_F(PreparedPfs, whose_step_had_no_effect_are_not_asked_for_it_at_once) {
    host.add_netdevsim();
    host.is_step_idle = true;
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start();
    EXPECT_EQ(host.count("pf vfs"), 1U);
    EXPECT_EQ(board->host().pfs[0].reason, schema::Reason::pf_preparing);
}

TEST_F(PreparedPfs, do_not_hold_up_other_ports) {
    host.add_netdevsim();
    set_pfs("netdevsim/netdevsim10,num-vfs=1");
    start_agent();
    open_database();
    engine.connect();
    settle();
    host.hold();
    set_pfs("netdevsim/netdevsim10,num-vfs=3");
    settle();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(PreparedPfs, vfs_that_were_unbound_for_one_that_is_not_wanted_any_more_are_bound_again) {
    host.add_pf(2);
    host.vf(1).driver = "";
    host.pf_record.unbound[host::Handle{"pci", "0000:43:00.3"}] = "mlx5_core";
    start();
    EXPECT_EQ(host.vf(1).driver, "mlx5_core");
    EXPECT_THAT(host.pf_record.unbound, IsEmpty());
    EXPECT_THAT(host.calls, ElementsAre("pf bind"));
}

TEST_F(PreparedPfs, bad_words_are_said_and_the_others_count) {
    host.add_netdevsim();
    set_pfs("nonsense netdevsim/netdevsim10,num-vfs=1");
    start();
    EXPECT_EQ(host_status("vdpa-host-reason"), "bad-pfs");
    EXPECT_THAT(host_status("vdpa-host-detail"),
                AllOf(HasSubstr("other_config"), HasSubstr("nonsense")));
    EXPECT_EQ(host.inventory.pfs.front().num_vfs, 1U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
