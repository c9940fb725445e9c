// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::IsEmpty;

class AgentRestart : public Stack {};

TEST_F(AgentRestart, adopts_what_runs_and_changes_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    const auto calls = engine.calls;
    start();
    EXPECT_EQ(engine.calls, calls);
    EXPECT_EQ(netdevs.count("remove vm1"), 0U);
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm2"), "/run/2.sock");
}

TEST_F(AgentRestart, says_nothing_new_of_a_port_before_the_engine_has_been_asked) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    start_agent();
    open_database();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(AgentRestart, says_of_a_served_port_that_its_engine_is_gone) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    start_agent();
    open_database();
    settle();
    agent->engine_down(0, {schema::Reason::engine_down, "no engine"});
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(served("vm1"), "");
}

TEST_F(AgentRestart, carries_out_what_was_changed_meanwhile) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    start_agent();
    remove("vm1");
    set_socket("vm2", "/run/3.sock");
    open_database();
    engine.connect();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_EQ(served("vm2"), "/run/3.sock");
}

TEST_F(AgentRestart, removes_what_is_recorded_and_wanted_by_nobody) {
    netdevs.devices["vm9"] = {3, {}};
    netdevs.record["vm9"] = 3;
    start();
    EXPECT_FALSE(netdevs.has("vm9"));
    EXPECT_THAT(netdevs.record, IsEmpty());
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(AgentRestart, with_an_empty_database_removes_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    start_agent();
    obtain_lock();
    ovs::Changes nothing;
    nothing.complete = true;
    agent->database_changed(nothing);
    engine.connect();
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(first_passes, 2U) << "whoever waits for the agent to be up waits for ever";
}

TEST_F(AgentRestart, between_removal_by_the_engine_and_deletion_of_the_netdev_finishes) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.hold();
    remove("vm1");
    settle();
    ASSERT_FALSE(engine.has("vm1"));
    ASSERT_TRUE(netdevs.has("vm1"));
    start_agent();
    netdevs.let_go();
    open_database();
    engine.connect();
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_THAT(netdevs.record, IsEmpty());
}

TEST_F(AgentRestart, while_an_outcome_is_awaited_finishes) {
    start();
    begin_to_serve("vm1", "/run/1.sock");
    start();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 1U);
}

TEST_F(AgentRestart, while_the_engine_lets_go_of_a_port_that_is_wanted_again_finishes) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_outcomes();
    remove("vm1");
    settle();
    start_agent();
    set_socket("vm1", "/run/1.sock");
    open_database();
    engine.connect();
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 2U);
}

TEST_F(AgentRestart, at_any_step_of_provisioning_finishes) {
    for (int steps = 0; steps < 40; steps++) {
        start();
        set_socket("vm1", "/run/1.sock");
        for (int i = 0; i < steps; i++) {
            io.restart();
            agent_io->restart();
            if (io.poll_one() == 0) {
                agent_io->poll_one();
            }
        }
        start();
        EXPECT_EQ(state("vm1"), "listening") << steps;
        EXPECT_TRUE(engine.serves("vm1")) << steps;
        EXPECT_TRUE(netdevs.has("vm1")) << steps;
        remove("vm1");
        settle();
        EXPECT_FALSE(engine.has("vm1")) << steps;
        EXPECT_THAT(netdevs.devices, IsEmpty()) << steps;
    }
}

TEST_F(AgentRestart, at_any_step_of_release_finishes) {
    for (int steps = 0; steps < 40; steps++) {
        start();
        set_socket("vm1", "/run/1.sock");
        settle();
        remove("vm1");
        for (int i = 0; i < steps; i++) {
            io.restart();
            agent_io->restart();
            if (io.poll_one() == 0) {
                agent_io->poll_one();
            }
        }
        start();
        EXPECT_FALSE(engine.has("vm1")) << steps;
        EXPECT_THAT(netdevs.devices, IsEmpty()) << steps;
        EXPECT_THAT(netdevs.record, IsEmpty()) << steps;
    }
}

TEST_F(AgentRestart, gives_an_engine_the_netdev_that_was_lost_meanwhile) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    start_agent();
    netdevs.devices.erase("vm1");
    open_database();
    settle();
    engine.connect();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(engine.count("remove vm1"), 1U) << "it holds a netdev that is no more";
    EXPECT_EQ(engine.count("apply vm1"), 2U);
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(AgentRestart, with_a_record_that_cannot_be_read_changes_nothing_and_says_so) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.record_error = Error{schema::Reason::record_failed, "owned.json is no JSON"};
    const auto calls = engine.calls;
    start_agent();
    set_socket("vm1", "/run/2.sock");
    remove("vm2");
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(engine.calls, calls);
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(status("", "vdpa-host-reason"), "record-failed");
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_EQ(reason("vm1"), "record-failed");
    EXPECT_EQ(first_passes, 2U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
