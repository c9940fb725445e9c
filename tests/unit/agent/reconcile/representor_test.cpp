// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/* What becomes of the representors of ports whatever else happens to them. */
class RepresentorsOfPorts : public Stack {
  protected:
    void start_with(uint32_t vfs) {
        host.add_pf(vfs);
        start();
    }
};

TEST_F(RepresentorsOfPorts, a_representor_is_asked_for_once) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(host.count("ensure vm1"), 1U);
    EXPECT_EQ(engine.count("apply vm1"), 1U);
}

TEST_F(RepresentorsOfPorts, a_mac_address_that_somebody_changes_is_put_right) {
    start_with(1);
    set("vm1", on("/run/1.sock", "0000:43:00.2"), {{"attached-mac", "02:aa:00:00:00:01"}});
    settle();
    host.change([this] { host.vf(0).mac = "02:bb:00:00:00:01"; });
    settle();
    EXPECT_EQ(host.vf(0).mac, "02:aa:00:00:00:01");
}

TEST_F(RepresentorsOfPorts, a_representor_that_is_renamed_by_hand_gets_its_name_back) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    host.change([this] { host.vf(0).representor->netdev = "somename"; });
    settle();
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.count("ensure vm2"), 1U) << "which nothing has happened to";
    EXPECT_EQ(engine.count("apply"), 2U);
}

TEST_F(RepresentorsOfPorts, a_representor_that_is_renamed_as_it_was_before_gets_its_name_back) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    host.change([this] {
        host.vf(0).representor->netdev = "eth0";
        host.vf(0).representor->up = false;
    });
    settle();
    EXPECT_EQ(host.netdev(0), "vm1");
}

TEST_F(RepresentorsOfPorts, news_that_come_late_do_no_harm) {
    start_with(1);
    host.auto_publish = false;
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.count("ensure vm1"), 1U);
    host.publish();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.count("ensure vm1"), 1U);
}

TEST_F(RepresentorsOfPorts, news_that_do_not_come_are_asked_for) {
    backoff = quick_retries;
    start_with(1);
    host.auto_publish = false;
    set_vf("vm1", 0);
    EXPECT_TRUE(until([this] { return refreshed > 0; }));
    settle();
    EXPECT_EQ(host.count("ensure vm1"), 1U);
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(RepresentorsOfPorts, a_representor_that_vanishes_cuts_no_guest) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    host.change([this] { host.vf(0).representor.reset(); });
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "representor-missing");
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_EQ(served("vm1"), "/run/vm1.sock");
}

TEST_F(RepresentorsOfPorts, a_representor_is_given_back_when_the_switch_has_let_go_of_it) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    ASSERT_TRUE(host.vf(0).representor->master);
    host.switch_stopped = true;
    remove("vm1");
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_EQ(host.netdev(0), "vm1");
    ASSERT_NE(board->port("vm1"), nullptr);
    EXPECT_EQ(board->port("vm1")->state, schema::State::waiting);
    EXPECT_EQ(board->port("vm1")->reason, schema::Reason::ovs_detach);
    host.switch_stopped = false;
    host.switch_looks();
    settle();
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(RepresentorsOfPorts, a_representor_is_not_asked_for_in_vain_while_the_switch_has_it) {
    backoff = {std::chrono::milliseconds(1), std::chrono::hours(1)};
    start_with(2);
    set_vf("vm1", 0);
    settle();
    host.switch_stopped = true;
    remove("vm1");
    host.ensure_error = [](const std::string &name) {
        return name == "vm2" ? std::optional(Error{schema::Reason::representor_failed, "no luck"})
                             : std::nullopt;
    };
    set_vf("vm2", 1);
    ASSERT_TRUE(until([this] { return host.count("ensure vm2") >= 8; })) << "what a port waits";
    EXPECT_EQ(board->port("vm1")->reason, schema::Reason::ovs_detach);
    EXPECT_LE(host.count("release vm1"), 2U);
    host.switch_stopped = false;
    host.switch_looks();
    settle();
    EXPECT_EQ(host.netdev(0), "eth0");
}

TEST_F(RepresentorsOfPorts, a_row_that_comes_back_while_the_switch_has_not_let_go_is_served_again) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    host.switch_stopped = true;
    remove("vm1");
    settle();
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.netdev(0), "vm1");
}

TEST_F(RepresentorsOfPorts, a_vf_that_is_in_use_on_this_host_is_not_touched) {
    start_with(1);
    host.change([this] {
        host.vf(0).netdevs = {"enp67s0f0v0"};
        host.vf(0).netdev_up = true;
        host.vf(0).netdev_claimed = true;
    });
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(reason("vm1"), "device-busy");
    EXPECT_THAT(detail("vm1"), HasSubstr("enp67s0f0v0"));
    EXPECT_EQ(host.count("ensure"), 0U);
    host.change([this] { host.vf(0).netdev_claimed = false; });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_FALSE(host.vf(0).netdev_up);
}

TEST_F(RepresentorsOfPorts, a_name_that_is_taken_is_used_when_it_is_free) {
    start_with(2);
    host.change([this] { host.vf(1).representor->netdev = "vm1"; });
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_THAT(reason("vm1"), testing::AnyOf("name-taken", "device-mismatch"));
    host.change([this] { host.vf(1).representor->netdev = "eth1"; });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(RepresentorsOfPorts, a_representor_that_is_a_port_of_its_own_is_not_renamed) {
    backoff = quick_retries;
    other_rows = {"eth0"};
    start_with(1);
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "duplicate-device");
    EXPECT_THAT(detail("vm1"), HasSubstr("eth0"));
    EXPECT_EQ(host.netdev(0), "eth0");
    other_rows.clear();
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(RepresentorsOfPorts, a_representor_that_cannot_be_renamed_is_told_and_tried_again) {
    backoff = quick_retries;
    host.ensure_error = [](const std::string &) {
        return Error{schema::Reason::representor_failed, "no"};
    };
    start_with(1);
    set_vf("vm1", 0);
    EXPECT_TRUE(until([this] { return host.count("ensure vm1") >= 4; }));
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_EQ(reason("vm1"), "representor-failed");
    host.ensure_error = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(RepresentorsOfPorts, what_failed_is_not_repeated_because_of_its_own_traces) {
    start_with(1);
    int attempts = 0;
    host.ensure_error = [this, &attempts](const std::string &) {
        host.vf(0).representor->netdev = "trace" + std::to_string(attempts++);
        return Error{schema::Reason::representor_failed, "no"};
    };
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(attempts, 1);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
