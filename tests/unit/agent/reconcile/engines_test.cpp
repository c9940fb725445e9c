// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

/* Two engines. */
class Engines : public Stack {
  protected:
    Engines() : other(add_engine("/run/engine2.sock")) {}

    FakeEngine &other;
};

TEST_F(Engines, a_port_goes_where_the_fewest_are) {
    start();
    for (int i = 0; i < 6; i++) {
        set_socket("vm" + std::to_string(i), "/run/" + std::to_string(i));
        settle();
    }
    EXPECT_EQ(engine.count("apply"), 3U);
    EXPECT_EQ(other.count("apply"), 3U);
}

TEST_F(Engines, a_port_stays_where_it_is_found) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    const size_t calls = engine.calls.size() + other.calls.size();
    start_agent();
    open_database();
    other.connect();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(engine.calls.size() + other.calls.size(), calls);
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "listening");
}

TEST_F(Engines, a_port_stays_where_it_is_served_though_its_row_does_not_tell_where) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    ASSERT_TRUE(engine.serves("vm1"));
    start_agent();
    remove("vm1");
    set_socket("vm1", "/run/1.sock");
    open_database();
    other.refuse = [](const schema::PortSpec &) {
        return Error{schema::Reason::socket_in_use, "somebody listens on it"};
    };
    other.connect();
    settle();
    engine.connect();
    settle();
    EXPECT_TRUE(engine.serves("vm1")) << "a guest was cut off";
    EXPECT_FALSE(other.has("vm1"));
    EXPECT_EQ(engine.count("remove"), 0U);
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Engines, a_port_on_both_is_left_on_one) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    other.apply(spec_of("vm1", "/run/other.sock"), [](const auto &) {});
    settle();
    EXPECT_FALSE(other.has("vm1"));
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_EQ(engine.count("remove"), 0U);
}

TEST_F(Engines, an_agent_that_stands_by_removes_nothing_from_either) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    lose_lock();
    settle();
    other.apply(spec_of("vm1", "/run/other.sock"), [](const auto &) {});
    settle();
    EXPECT_EQ(other.count("remove"), 0U);
    obtain_lock();
    settle();
    EXPECT_EQ(other.count("remove"), 1U);
}

TEST_F(Engines, the_loss_of_one_does_not_concern_the_ports_of_the_other) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm2", "/run/2.sock");
    settle();
    const size_t calls = engine.calls.size();
    other.die();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "waiting");
    EXPECT_EQ(engine.calls.size(), calls);
    EXPECT_EQ(status("", "vdpa-agent-state"), "running");
    EXPECT_EQ(status("", "vdpa-host-reason"), "engine-down");
}

TEST_F(Engines, that_are_all_full_are_named) {
    engine.info.max_ports = other.info.max_ports = 1;
    start();
    for (const char *name : {"vm1", "vm2", "vm3"}) {
        set_socket(name, std::string("/run/") + name);
        settle();
    }
    EXPECT_EQ(state("vm3"), "waiting");
    EXPECT_EQ(reason("vm3"), "engine-full");
}

TEST_F(Engines, that_were_full_are_used_again_when_a_port_is_removed) {
    engine.info.max_ports = other.info.max_ports = 1;
    start();
    for (const char *name : {"vm1", "vm2", "vm3"}) {
        set_socket(name, std::string("/run/") + name);
        settle();
    }
    remove("vm1");
    settle();
    EXPECT_EQ(state("vm3"), "listening");
}

TEST_F(Engines, a_socket_that_one_leaves_may_be_served_by_the_other) {
    start();
    set_socket("vm1", "/run/a.sock");
    settle();
    set_socket("vm2", "/run/b.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/a.sock");
    });
    settle();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/b.sock");
    EXPECT_EQ(other.socket_of("vm2"), "/run/a.sock");
}

TEST_F(Engines, a_restart_that_is_needed_is_told_by_the_host_s_status) {
    start();
    agent->restart_pending(1, true);
    settle();
    EXPECT_EQ(status("", "vdpa-host-reason"), "engine-restart-pending");
    agent->restart_pending(1, false);
    settle();
    EXPECT_EQ(status("", "vdpa-host-reason"), "");
}

TEST_F(Engines, are_all_told_what_to_be_started_with) {
    start();
    set_other_config({{"vdpa-lcore-mask", "0x6"}});
    settle();
    for (const auto &each : engines) {
        EXPECT_THAT(each->start_params.workers, testing::ElementsAre(1, 2));
    }
}

TEST_F(Engines, that_tell_again_what_they_run_change_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    const size_t written = writes;
    const size_t calls = engine.calls.size() + other.calls.size();
    engine.list_again();
    other.list_again();
    settle();
    EXPECT_EQ(engine.calls.size() + other.calls.size(), calls);
    EXPECT_EQ(writes, written);
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(Engines, a_port_that_one_has_lost_unheard_is_served_again_when_it_tells_what_it_runs) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    ASSERT_TRUE(engine.serves("vm1"));
    engine.drop_unheard("vm1");
    settle();
    ASSERT_FALSE(engine.has("vm1"));
    engine.list_again();
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Engines, may_tell_what_they_run_while_a_port_is_being_applied_or_removed) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_answers();
    engine.list_again();  // without what comes now
    set_socket("vm1", "/run/2.sock");
    settle();
    engine.list_again();
    settle();
    engine.let_answers_go();
    settle();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/2.sock");
    EXPECT_EQ(served("vm1"), "/run/2.sock");
    engine.hold_outcomes();
    remove("vm1");
    settle();
    engine.list_again();
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_TRUE(engine.faults.empty());
}

}  // namespace
}  // namespace vdpa::agent::reconcile
