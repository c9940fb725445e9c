// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

class EngineLoss : public Stack {};

TEST_F(EngineLoss, is_told_and_leaves_the_netdev) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "engine-down");
    EXPECT_EQ(served("vm1"), "");
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(status("", "vdpa-agent-state"), "no-engine");
}

TEST_F(EngineLoss, is_made_good_when_an_engine_is_back) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const int ifindex = netdevs.devices.at("vm1").ifindex;
    engine.die();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(netdevs.devices.at("vm1").ifindex, ifindex);
    EXPECT_EQ(status("", "vdpa-agent-state"), "running");
}

TEST_F(EngineLoss, of_the_connection_alone_changes_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const size_t calls = engine.calls.size();
    engine.disconnect();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.calls.size(), calls);
}

TEST_F(EngineLoss, before_the_answer_is_made_good) {
    start();
    engine.hold_answers();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    engine.let_answers_go();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(EngineLoss, between_the_answer_and_the_outcome_is_made_good) {
    start();
    begin_to_serve("vm1", "/run/1.sock");
    engine.die();
    settle();
    engine.let_outcomes_go();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 2U);
}

TEST_F(EngineLoss, of_the_connection_between_the_answer_and_the_outcome_is_made_good) {
    start();
    begin_to_serve("vm1", "/run/1.sock");
    engine.disconnect();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 1U);
}

TEST_F(EngineLoss, during_a_change_ends_with_the_new_settings) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_outcomes();
    set_socket("vm1", "/run/2.sock");
    settle();
    engine.die();
    settle();
    engine.let_outcomes_go();
    engine.connect();
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(EngineLoss, does_not_keep_changes_of_rows_from_being_carried_out_afterwards) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    set_socket("vm1", "/run/2.sock");
    set_socket("vm2", "/run/1.sock");
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
    EXPECT_EQ(served("vm2"), "/run/1.sock");
}

TEST_F(EngineLoss, of_a_port_whose_row_goes_meanwhile_leaves_no_socket) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    remove("vm1");
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock"));
}

TEST_F(EngineLoss, of_a_port_whose_socket_is_changed_meanwhile_leaves_not_the_one_before) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock"));
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(EngineLoss, of_a_port_whose_socket_is_changed_and_whose_row_goes_leaves_no_socket) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    remove("vm1");
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock"));
}

TEST_F(EngineLoss, leaves_a_socket_that_another_port_wants_to_that_port) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    remove("vm1");
    set_socket("vm2", "/run/1.sock");
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, IsEmpty());
    EXPECT_EQ(served("vm2"), "/run/1.sock");
}

TEST_F(EngineLoss, leaves_no_socket_although_it_could_not_be_removed_at_first) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    remove("vm1");
    settle();
    engine.sockets_to_keep = 3;
    engine.connect();
    ASSERT_TRUE(until([this] { return engine.dead_sockets.size() == 4; }));
    EXPECT_EQ(engine.sockets_to_keep, 0);
    EXPECT_THAT(engine.dead_sockets, Each("/run/1.sock"));
    take_steps(50);
    EXPECT_EQ(engine.dead_sockets.size(), 4U) << "it is gone";
}

TEST_F(EngineLoss, leaves_no_socket_although_the_next_engine_dies_while_it_removes_it) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    remove("vm1");
    settle();
    engine.hold_answers();
    engine.connect();
    settle();
    ASSERT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock"));
    engine.die();
    engine.let_answers_go();
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock", "/run/1.sock"));
}

TEST_F(EngineLoss, never_removes_the_port_that_has_the_name_now_with_the_socket) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    engine.sockets_to_keep = 1;
    engine.connect();
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
    EXPECT_THAT(engine.dead_sockets, ElementsAre("/run/1.sock"));
    take_steps(50);
    EXPECT_EQ(engine.dead_sockets.size(), 1U) << "the engine has the port";
    EXPECT_EQ(served("vm1"), "/run/2.sock");
    remove("vm1");
    EXPECT_TRUE(until([this] { return engine.dead_sockets.size() == 2; }));
    EXPECT_THAT(engine.dead_sockets, Each("/run/1.sock"));
    EXPECT_THAT(engine.faults, IsEmpty());
}

TEST_F(EngineLoss, of_the_connection_alone_leaves_no_dead_socket) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.disconnect();
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    engine.connect();
    settle();
    EXPECT_THAT(engine.dead_sockets, IsEmpty());
    EXPECT_EQ(engine.count("remove"), 0U);
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(EngineLoss, again_and_again_leaves_the_ports_served) {
    start();
    for (int i = 0; i < 20; i++) {
        set_socket("vm" + std::to_string(i), "/run/" + std::to_string(i));
    }
    for (int i = 0; i < 50; i++) {
        for (int steps = 0; steps < i; steps++) {
            io.restart();
            io.poll_one();
            agent_io->restart();
            agent_io->poll_one();
        }
        if (i % 3 == 0) {
            engine.disconnect();
        } else {
            engine.die();
        }
        engine.connect();
    }
    settle();
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(state("vm" + std::to_string(i)), "listening") << i;
    }
}

TEST_F(EngineLoss, of_a_port_alone_is_made_good) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.change("vm1", [](schema::PortStatus &status) {
        status.state = schema::PortState::removed;
        status.served.reset();
    });
    settle();
    EXPECT_GE(engine.count("apply vm1"), 2U);
}

TEST_F(EngineLoss, a_port_that_nobody_wants_is_ended) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.apply(spec_of("stranger", "/run/s.sock"), [](const auto &) {});
    settle();
    EXPECT_FALSE(engine.has("stranger"));
    EXPECT_EQ(board->ports().size(), 1U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
