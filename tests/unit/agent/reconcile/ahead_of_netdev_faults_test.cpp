// SPDX-License-Identifier: Apache-2.0
// What happens to a port, its netdev and its engine while the socket is served ahead of the netdev.
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::ElementsAre;

class AheadOfNetdevFaults : public Stack {
  protected:
    AheadOfNetdevFaults() {
        engine.refuse = [this](const schema::PortSpec &spec) { return open_netdev(spec); };
    }

    schema::StringMap with(const std::string &key, const std::string &value) const {
        schema::StringMap options = sw("/run/1.sock");
        options[key] = value;
        return options;
    }
    /* Up to the point where the netdev is being made. */
    void begin() {
        start();
        netdevs.hold();
        set_socket("vm1", "/run/1.sock");
        settle();
    }
    /* Whether the engine has the netdev that there is. */
    bool has_netdev() const {
        return netdevs.has("vm1") && engine.serves("vm1") && !engine.is_ahead("vm1") &&
               opened == netdevs.devices.at("vm1").ifindex;
    }
    bool works() const { return state("vm1") == "listening" && has_netdev(); }
    /* Has it happen at any moment from a row's coming to its being served, and a moment later. */
    void at_any_moment(const std::function<void()> &event, const std::function<void()> &check) {
        backoff = quick_retries;
        bool was_served = false;
        for (int steps = 0; !was_served; steps++) {
            SCOPED_TRACE(steps);
            start();
            engine.calls.clear();
            set_socket("vm1", "/run/1.sock");
            take_steps(steps);
            was_served = state("vm1") == "listening";
            event();
            settle();
            check();
            remove("vm1");
            settle();
            EXPECT_FALSE(engine.has("vm1"));
            EXPECT_FALSE(netdevs.has("vm1"));
        }
    }

    int opened = 0;  // the index of the netdev that the engine opened last

  private:
    std::optional<Error> open_netdev(const schema::PortSpec &spec) {
        if (spec.netdev_awaited || (engine.serves(spec.name) && !engine.is_ahead(spec.name))) {
            return std::nullopt;
        }
        const auto found = netdevs.devices.find(spec.name);
        if (found == netdevs.devices.end()) {
            return Error{schema::Reason::netdev_missing, "no"};
        }
        opened = found->second.ifindex;
        return std::nullopt;
    }
};

TEST_F(AheadOfNetdevFaults, a_busy_engine_does_not_keep_the_netdev_from_the_switch) {
    socket_patience = std::chrono::milliseconds(1);
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return netdevs.has("vm1"); }));
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(works());
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdevFaults, an_engine_that_does_not_answer_keeps_no_netdev_from_the_switch) {
    socket_patience = std::chrono::milliseconds(1);
    start();
    engine.hold_answers();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return netdevs.has("vm1"); }));
    settle();
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock")) << "told before it answers";
    engine.let_answers_go();
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(works());
}

TEST_F(AheadOfNetdevFaults, an_edit_of_the_row_does_not_have_the_netdev_wait_for_ever) {
    socket_patience = std::chrono::milliseconds(50);
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    set("vm1", with("vdpa-socket-perms", "0600"));
    EXPECT_TRUE(until([this] { return netdevs.has("vm1"); }));
}

TEST_F(AheadOfNetdevFaults, a_netdev_that_cannot_be_made_ends_the_socket_of_a_busy_engine) {
    socket_patience = std::chrono::milliseconds(1);
    netdevs.ensure_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    start();
    engine.hold_answers();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    engine.let_answers_go();
    engine.let_outcomes_go();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
}

TEST_F(AheadOfNetdevFaults, a_netdev_that_cannot_be_made_ends_what_an_earlier_agent_has_served) {
    begin();
    start_agent();
    netdevs.ensure_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    netdevs.let_go();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_FALSE(engine.has("vm1"));
}

TEST_F(AheadOfNetdevFaults, a_netdev_that_goes_before_the_socket_is_served_costs_no_socket) {
    socket_patience = std::chrono::milliseconds(1);
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return netdevs.has("vm1"); }));
    netdevs.remove_by_hand("vm1");
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(works());
    EXPECT_EQ(engine.count("remove"), 0U);
}

TEST_F(AheadOfNetdevFaults, a_netdev_may_be_deleted_at_any_moment) {
    at_any_moment([this] { netdevs.remove_by_hand("vm1"); },
                  [this] { EXPECT_TRUE(until([this] { return works(); })); });
}

TEST_F(AheadOfNetdevFaults, an_engine_may_die_at_any_moment) {
    at_any_moment(
        [this] {
            engine.die();
            settle();
            EXPECT_TRUE(netdevs.has("vm1")) << "the switch needs no engine";
            EXPECT_EQ(served("vm1"), "");
            engine.connect();
        },
        [this] { EXPECT_TRUE(works()); });
}

TEST_F(AheadOfNetdevFaults, a_connection_that_is_lost_at_any_moment_costs_no_socket) {
    at_any_moment(
        [this] {
            engine.disconnect();
            settle();
            engine.connect();
        },
        [this] {
            EXPECT_TRUE(works());
            EXPECT_EQ(engine.count("remove"), 0U);
        });
}

TEST_F(AheadOfNetdevFaults, an_answer_that_is_lost_with_the_connection_is_not_waited_for) {
    start();
    engine.hold_answers();
    set_socket("vm1", "/run/1.sock");
    settle();
    ASSERT_FALSE(netdevs.has("vm1"));
    engine.disconnect();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(reason("vm1"), "engine-down");
}

TEST_F(AheadOfNetdevFaults, an_outcome_that_is_lost_with_the_connection_is_not_waited_for) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    ASSERT_FALSE(netdevs.has("vm1"));
    engine.disconnect();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(reason("vm1"), "engine-down");
}

TEST_F(AheadOfNetdevFaults, an_agent_may_begin_anew_at_any_moment_and_costs_no_socket) {
    at_any_moment(
        [this] {
            start_agent();
            open_database();
            engine.connect();
        },
        [this] {
            EXPECT_TRUE(works());
            EXPECT_EQ(engine.count("remove"), 0U);
        });
}

TEST_F(AheadOfNetdevFaults, more_queues_may_be_asked_for_at_any_moment) {
    at_any_moment([this] { set("vm1", with("vdpa-max-queues", "4")); },
                  [this] {
                      EXPECT_TRUE(works());
                      EXPECT_EQ(engine.accepted("vm1").max_queues, 4U);
                      EXPECT_EQ(netdevs.devices.at("vm1").multi_queue,
                                reason("vm1") != "single-queue-netdev");
                      EXPECT_EQ(engine.count("remove"), 0U);
                  });
}

TEST_F(AheadOfNetdevFaults, more_queues_asked_for_before_the_netdev_is_made_are_had) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    set("vm1", with("vdpa-max-queues", "4"));
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(works());
    EXPECT_TRUE(netdevs.devices.at("vm1").multi_queue);
}

TEST_F(AheadOfNetdevFaults, client_mode_may_be_asked_for_at_any_moment) {
    at_any_moment([this] { set("vm1", with("vdpa-socket-mode", "client")); },
                  [this] {
                      EXPECT_EQ(state("vm1"), "connecting");
                      EXPECT_EQ(served("vm1"), "");
                      EXPECT_TRUE(has_netdev());
                  });
}

TEST_F(AheadOfNetdevFaults, a_front_end_that_the_engine_has_connected_to_stays) {
    start();
    netdevs.hold();
    set("vm1", with("vdpa-socket-mode", "client"));
    settle();
    ASSERT_TRUE(engine.is_ahead("vm1"));
    engine.change("vm1", [](auto &status) { status.state = schema::PortState::connected; });
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    netdevs.let_go();
    settle();
    EXPECT_EQ(state("vm1"), "connected");
    EXPECT_TRUE(has_netdev());
    EXPECT_THAT(engine.calls, ElementsAre("ahead vm1 /run/1.sock", "apply vm1 /run/1.sock"));
}

TEST_F(AheadOfNetdevFaults, what_the_front_end_has_to_reconnect_for_is_no_failure) {
    begin();
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
    engine.change("vm1", [](auto &status) {
        status.reason = schema::to_string(schema::Reason::reconnect_pending);
        status.detail = "queue pairs 1 (now 4)";
    });
    settle();
    EXPECT_EQ(state("vm1"), "provisioning");
    engine.let_outcomes_go();
    settle();
    EXPECT_TRUE(works());
}

}  // namespace
}  // namespace vdpa::agent::reconcile
