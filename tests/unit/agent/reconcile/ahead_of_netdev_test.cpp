// SPDX-License-Identifier: Apache-2.0
// The socket of a new emulated VF, which is served while the netdev is being made.
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::ElementsAre;

class AheadOfNetdev : public Stack {
  protected:
    /* Up to the point where the netdev is being made. */
    void begin() {
        start();
        netdevs.hold();
        set_socket("vm1", "/run/1.sock");
        settle();
    }
    bool awaits_netdev() const { return engine.is_ahead("vm1"); }
};

TEST_F(AheadOfNetdev, the_socket_is_served_and_not_called_so) {
    begin();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/1.sock");
    EXPECT_TRUE(awaits_netdev());
    EXPECT_EQ(state("vm1"), "provisioning");
    EXPECT_EQ(served("vm1"), "");
}

TEST_F(AheadOfNetdev, the_engine_is_told_when_the_netdev_is_there) {
    begin();
    netdevs.let_go();
    settle();
    EXPECT_FALSE(awaits_netdev());
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdev, the_netdev_is_made_when_the_socket_is_served) {
    start();
    engine.hold_answers();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_FALSE(netdevs.has("vm1")) << "made while the socket is waited for";
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_answers_go();
    engine.let_outcomes_go();
    settle();
    EXPECT_FALSE(awaits_netdev());
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(AheadOfNetdev, the_row_is_not_called_served_while_the_engine_opens_the_netdev) {
    begin();
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    EXPECT_EQ(served("vm1"), "");
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(AheadOfNetdev, a_netdev_that_the_engine_cannot_open_fails_the_port_and_is_tried_again) {
    backoff = quick_retries;
    engine.refuse = [](const schema::PortSpec &spec) {
        return spec.netdev_awaited ? std::nullopt
                                   : std::optional(Error{schema::Reason::tap_failed, "no"});
    };
    start();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    EXPECT_EQ(reason("vm1"), "tap-failed");
    EXPECT_EQ(served("vm1"), "");
    engine.refuse = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(AheadOfNetdev, a_netdev_that_cannot_be_made_ends_the_socket) {
    netdevs.ensure_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    begin();
    ASSERT_EQ(engine.socket_of("vm1"), "/run/1.sock");
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_FALSE(engine.has("vm1"));
}

TEST_F(AheadOfNetdev, a_row_that_goes_takes_the_socket_along) {
    begin();
    remove("vm1");
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    netdevs.let_go();
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_EQ(state("vm1"), "");
}

TEST_F(AheadOfNetdev, another_socket_is_served_in_its_place) {
    begin();
    set_socket("vm1", "/run/2.sock");
    settle();
    netdevs.let_go();
    settle();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/2.sock");
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(AheadOfNetdev, a_socket_that_another_port_has_is_left_to_it) {
    start();
    set_socket("vm2", "/run/1.sock");
    settle();
    netdevs.hold();
    in_one_transaction([this] {
        remove("vm2");
        set_socket("vm1", "/run/1.sock");
    });
    settle();
    netdevs.let_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    EXPECT_THAT(engine.faults, ElementsAre());
}

TEST_F(AheadOfNetdev, an_agent_that_begins_anew_makes_the_netdev) {
    begin();
    start_agent();
    netdevs.let_go();
    open_database();
    engine.connect();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_FALSE(awaits_netdev());
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(AheadOfNetdev, a_front_end_that_has_connected_keeps_its_socket_when_the_agent_begins_anew) {
    begin();
    start_agent();
    netdevs.let_go();
    open_database();
    settle();
    ASSERT_TRUE(netdevs.has("vm1")) << "made before the engine is heard";
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdev,
       a_front_end_that_has_connected_keeps_its_socket_when_the_engine_is_lost_sight_of) {
    begin();
    engine.disconnect();
    netdevs.let_go();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdev, a_netdev_that_is_made_again_while_it_is_opened_is_the_one_that_is_opened) {
    begin();
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
    netdevs.remove_by_hand("vm1");
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock",
                                          "remove vm1", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdev, a_netdev_that_was_gone_before_it_was_opened_costs_no_connection) {
    engine.refuse = [this](const schema::PortSpec &spec) {
        return spec.netdev_awaited || netdevs.has("vm1")
                   ? std::nullopt
                   : std::optional(Error{schema::Reason::netdev_missing, "no"});
    };
    begin();
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
    netdevs.hold();
    netdevs.remove_by_hand("vm1");
    settle();
    engine.let_outcomes_go();
    settle();
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("remove"), 0U);
}

TEST_F(AheadOfNetdev, a_socket_that_could_not_be_had_at_first_is_not_called_invalid) {
    bool is_first = true;
    engine.refuse = [&is_first](const schema::PortSpec &) {
        return std::exchange(is_first, false)
                   ? std::optional(Error{schema::Reason::socket_in_use, "somebody listens"})
                   : std::nullopt;
    };
    begin();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(AheadOfNetdev, an_agent_that_begins_anew_ends_the_socket_of_a_row_that_is_gone) {
    begin();
    start_agent();
    remove("vm1");
    netdevs.let_go();
    open_database();
    engine.connect();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(AheadOfNetdev, a_netdev_that_is_made_again_is_not_awaited_under_a_front_end) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.hold();
    netdevs.remove_by_hand("vm1");
    settle();
    EXPECT_FALSE(awaits_netdev());
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_THAT(engine.faults, ElementsAre());
}

TEST_F(AheadOfNetdev, is_nothing_that_an_engine_of_the_previous_schema_is_asked_for) {
    engine.info.schema_minor = 1;
    begin();
    EXPECT_TRUE(engine.calls.empty());
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

}  // namespace
}  // namespace vdpa::agent::reconcile
