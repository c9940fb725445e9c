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

TEST_F(AheadOfNetdevFaults, a_port_that_comes_again_is_as_patient_as_a_new_one) {
    begin();
    remove("vm1");
    netdevs.let_go();
    settle();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
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

}  // namespace
}  // namespace vdpa::agent::reconcile
