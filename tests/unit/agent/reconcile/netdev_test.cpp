// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

class Netdevs : public Stack {
  protected:
    void fail_to_make(schema::Reason reason) {
        netdevs.ensure_error = [reason](const std::string &) { return Error{reason, "no"}; };
    }
};

TEST_F(Netdevs, that_is_deleted_by_hand_comes_back_and_is_attached_anew) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.remove_by_hand("vm1");
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(engine.count("remove vm1"), 1U);
    EXPECT_EQ(engine.count("apply vm1"), 2U);
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, are_made_for_as_many_queues_as_are_asked_for) {
    start();
    set_socket("vm1", "/run/1.sock");
    auto options = sw("/run/2.sock");
    options["vdpa-max-queues"] = "4";
    set("vm2", options);
    settle();
    EXPECT_FALSE(netdevs.devices.at("vm1").multi_queue);
    EXPECT_TRUE(netdevs.devices.at("vm2").multi_queue);
}

TEST_F(Netdevs, of_one_queue_stay_when_more_are_asked_for_and_the_row_says_what_that_means) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    auto options = sw("/run/1.sock");
    options["vdpa-max-queues"] = "4";
    set("vm1", options);
    settle();
    EXPECT_EQ(netdevs.count("remove vm1"), 0U) << "ovs-vswitchd would not notice";
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "single-queue-netdev");
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(Netdevs, that_is_deleted_by_hand_while_the_engine_is_at_work_is_attached_anew) {
    start();
    begin_to_serve("vm1", "/run/1.sock");
    netdevs.remove_by_hand("vm1");
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(engine.count("remove vm1"), 1U);
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, that_is_deleted_by_hand_while_it_is_being_looked_at_comes_back) {
    start();
    netdevs.before_answer = [this] { netdevs.remove_by_hand("vm1"); };
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, that_is_deleted_by_hand_again_and_again_comes_back) {
    start();
    set_socket("vm1", "/run/1.sock");
    for (int i = 0; i < 5; i++) {
        settle();
        netdevs.remove_by_hand("vm1");
    }
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, news_of_a_netdev_that_is_as_it_was_concern_nobody) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.tell("vm1");
    netdevs.tell("eth0");
    settle();
    EXPECT_EQ(netdevs.count("ensure vm1"), 1U);
}

TEST_F(Netdevs, of_another_with_the_port_s_name_makes_the_row_invalid) {
    netdevs.add_foreign("vm1");
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "name-taken");
    EXPECT_TRUE(engine.calls.empty());
}

TEST_F(Netdevs, a_name_that_becomes_free_is_used_at_once) {
    netdevs.add_foreign("vm1");
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.remove_by_hand("vm1");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, a_name_that_becomes_free_while_it_is_being_looked_at_is_used_at_once) {
    netdevs.add_foreign("vm1");
    start();
    netdevs.before_answer = [this] { netdevs.remove_by_hand("vm1"); };
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Netdevs, that_cannot_be_made_is_told_and_tried_again) {
    backoff = quick_retries;
    fail_to_make(schema::Reason::tap_failed);
    start();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return netdevs.count("ensure vm1") >= 4; }));
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_EQ(reason("vm1"), "tap-failed");
    netdevs.ensure_error = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(Netdevs, that_was_renamed_and_is_attached_is_waited_for) {
    backoff = quick_retries;
    fail_to_make(schema::Reason::ovs_detach);
    start();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return netdevs.count("ensure vm1") >= 4; }));
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "ovs-detach");
    netdevs.ensure_error = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(Netdevs, that_cannot_be_made_is_told_once) {
    backoff = quick_retries;
    fail_to_make(schema::Reason::tap_failed);
    start();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    const size_t written = writes;
    EXPECT_TRUE(until([this] { return netdevs.count("ensure vm1") >= 6; }));
    EXPECT_EQ(writes, written);
}

TEST_F(Netdevs, that_cannot_be_made_is_not_tried_again_because_of_the_attempt_s_own_traces) {
    fail_to_make(schema::Reason::record_failed);
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(netdevs.count("ensure vm1"), 1U);
    EXPECT_EQ(reason("vm1"), "record-failed");
}

TEST_F(Netdevs, are_given_to_the_user_of_an_engine_that_is_restarted_under_another) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    engine.info.uid = 77;
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(netdevs.devices.at("vm1").owner, 77U);
    EXPECT_EQ(state("vm1"), "listening");
}

}  // namespace
}  // namespace vdpa::agent::reconcile
