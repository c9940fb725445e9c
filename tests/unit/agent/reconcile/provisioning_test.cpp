// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Provisioning : public Stack {};

TEST_F(Provisioning, a_row_becomes_a_netdev_and_a_served_socket) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(engine.socket_of("vm1"), "/run/1.sock");
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    EXPECT_EQ(status("vm1", "vdpa-device"), "tap:vm1");
    EXPECT_EQ(status("vm1", "vdpa-engine"), engine.path());
}

TEST_F(Provisioning, the_netdev_belongs_to_the_engine_s_user) {
    engine.info.uid = 999;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(netdevs.devices.at("vm1").owner, 999U);
}

TEST_F(Provisioning, a_socket_is_not_called_served_before_the_engine_says_so) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    EXPECT_EQ(served("vm1"), "");
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(Provisioning, an_outcome_may_come_before_the_answer) {
    start();
    engine.outcome_before_answer = true;
    engine.hold_answers();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.let_answers_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    set_socket("vm1", "/run/2.sock");
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(Provisioning, an_engine_that_runs_before_the_database_is_read_is_not_missed) {
    start_agent();
    engine.connect();
    settle();
    set_socket("vm1", "/run/1.sock");
    open_database();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Provisioning, the_netdev_is_there_before_an_engine_is) {
    start_agent();
    agent->engine_down(0, {schema::Reason::engine_down, "no engine"});
    open_database();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "engine-down");
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(netdevs.devices.at("vm1").owner, engine.info.uid);
}

TEST_F(Provisioning, that_takes_no_time_is_not_written_to_the_row) {
    first_report_delay = std::chrono::hours(1);
    start();
    const size_t before = writes;
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(writes, before + 1);
}

TEST_F(Provisioning, that_takes_long_is_written_to_the_row) {
    first_report_delay = std::chrono::milliseconds(20);
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "");
    EXPECT_TRUE(until([this] { return state("vm1") == "provisioning"; }));
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Provisioning, of_many_ports_is_not_written_while_some_become_ready) {
    first_report_delay = std::chrono::milliseconds(300);
    start();
    netdevs.hold();
    const auto begin = std::chrono::steady_clock::now();
    in_one_transaction([this] {
        set_socket("vm1", "/run/1.sock");
        set_socket("vm2", "/run/2.sock");
    });
    settle();
    netdevs.let_one_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_TRUE(until([this] { return state("vm2") == "provisioning"; }));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 2 * first_report_delay);
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm2"), "listening");
}

TEST_F(Provisioning, nothing_is_done_before_it_is_known_what_is_ours) {
    netdevs.hold();
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_TRUE(engine.calls.empty());
    EXPECT_EQ(netdevs.count("ensure vm1"), 0U);
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Provisioning, a_change_that_comes_while_the_engine_is_at_work_is_carried_out_afterwards) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock"));
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(Provisioning, a_port_that_is_as_it_should_be_is_left_alone) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const size_t calls = engine.calls.size();
    const size_t written = writes;
    set("vm1", sw("/run/1.sock"), {{"iface-id", "x"}});
    obtain_lock();
    settle();
    EXPECT_EQ(engine.calls.size(), calls);
    EXPECT_EQ(writes, written);
}

TEST_F(Provisioning, a_change_of_one_row_concerns_no_other_port) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    set_socket("vm1", "/run/3.sock");
    settle();
    EXPECT_EQ(engine.count("apply vm2"), 1U);
    EXPECT_EQ(netdevs.count("ensure vm2"), 1U);
}

TEST_F(Provisioning, defaults_of_the_host_that_change_are_applied_to_ports_that_use_them) {
    start();
    set_socket("vm1", "/run/1.sock");
    set("vm2", {{"vdpa-socket", "/run/2.sock"}, {"vdpa-sw", "true"}, {"vdpa-socket-perms", "600"}});
    settle();
    set_other_config({{"vdpa-socket-perms", "0666"}});
    settle();
    EXPECT_EQ(engine.count("apply vm1"), 2U);
    EXPECT_EQ(engine.count("apply vm2"), 1U);
}

TEST_F(Provisioning, a_client_socket_is_not_called_served) {
    start();
    auto options = sw("/run/1.sock");
    options["vdpa-socket-mode"] = "client";
    set("vm1", options);
    settle();
    EXPECT_EQ(state("vm1"), "connecting");
    EXPECT_EQ(served("vm1"), "");
}

TEST_F(Provisioning, what_the_front_end_does_is_told) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.change("vm1", [](schema::PortStatus &status) {
        status.state = schema::PortState::running;
        status.queues = 1;
        status.connections = 4;
    });
    settle();
    EXPECT_EQ(state("vm1"), "running");
    EXPECT_EQ(status("vm1", "vdpa-queues"), "1/1");
    EXPECT_EQ(board->port("vm1")->connections, 4U);
}

TEST_F(Provisioning, what_is_to_be_known_of_a_served_port_is_told_without_another_attempt) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.change("vm1", [](schema::PortStatus &status) {
        status.reason = "reconnect-pending";
        status.detail = "later";
    });
    settle();
    EXPECT_EQ(reason("vm1"), "reconnect-pending");
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 1U);
}

TEST_F(Provisioning, counters_come_from_the_engine) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    std::optional<Expected<report::StatsView>> answer;
    agent->stats("vm1", false, [&answer](const auto &stats) { answer = stats; });
    settle();
    ASSERT_TRUE(answer && *answer);
    EXPECT_EQ((*answer)->now.at(0).at("packets"), 3U);
}

TEST_F(Provisioning, there_are_no_counters_of_a_port_that_is_not_served) {
    start_agent();
    open_database();
    set_socket("vm1", "/run/1.sock");
    settle();
    for (const char *name : {"vm1", "vm2"}) {
        std::optional<Expected<report::StatsView>> answer;
        agent->stats(name, false, [&answer](const auto &stats) { answer = stats; });
        ASSERT_TRUE(answer);
        ASSERT_FALSE(*answer);
        EXPECT_THAT(answer->error().detail, HasSubstr(name));
    }
}

TEST_F(Provisioning, an_engine_that_reports_less_than_it_was_told_is_not_told_for_ever) {
    engine.distort = [](schema::PortSpec &spec) { spec.packed = false; };
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply vm1"), 1U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
