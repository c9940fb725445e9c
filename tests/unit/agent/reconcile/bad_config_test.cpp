// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class BadConfig : public Stack {
  protected:
    static std::optional<Error> occupied(const schema::PortSpec &spec) {
        if (spec.socket.path == "/run/bad.sock") {
            return Error{schema::Reason::socket_path_occupied, "/run/bad.sock is a folder"};
        }
        return std::nullopt;
    }

    /* Where offloads are withheld. */
    void set_on_userspace_bridge(const std::string &name, const std::string &path) {
        ovs::InterfaceRow row;
        row.name = name;
        row.bridge = "br0";
        row.datapath_type = "netdev";
        row.options = sw(path);
        ovs::Changes changes;
        changes.has_global = true;
        changes.interfaces.push_back(std::move(row));
        agent->database_changed(std::move(changes));
    }
};

TEST_F(BadConfig, of_a_row_that_was_never_good_makes_nothing) {
    start();
    set_socket("vm1", "relative.sock");
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "bad-socket-path");
    EXPECT_THAT(netdevs.devices, IsEmpty());
    EXPECT_THAT(engine.calls, IsEmpty());
}

TEST_F(BadConfig, that_is_put_right_is_served_at_once) {
    start();
    set_socket("vm1", "relative.sock");
    settle();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(BadConfig, of_a_served_row_is_named_and_changes_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const size_t calls = engine.calls.size();
    set_socket("vm1", "relative.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_THAT(detail("vm1"), AllOf(HasSubstr("vdpa-socket"), HasSubstr("relative.sock")));
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    EXPECT_EQ(engine.calls.size(), calls);
}

TEST_F(BadConfig, of_a_served_row_that_is_taken_back_leaves_no_trace) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const size_t calls = engine.calls.size();
    set_socket("vm1", "relative.sock");
    settle();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(reason("vm1"), "");
    EXPECT_EQ(engine.calls.size(), calls);
}

TEST_F(BadConfig, of_a_served_row_does_not_keep_the_engine_s_restart_from_being_repaired) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "relative.sock");
    settle();
    engine.die();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/1.sock");
    EXPECT_EQ(reason("vm1"), "config-rejected");
}

TEST_F(BadConfig, of_a_served_row_survives_a_restart_of_the_agent) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "relative.sock");
    settle();
    const size_t calls = engine.calls.size();
    start_agent();
    open_database();
    settle();
    EXPECT_TRUE(netdevs.has("vm1")) << "taken from under a guest before the engine was heard";
    engine.connect();
    settle();
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(engine.socket_of("vm1"), "/run/1.sock");
    EXPECT_EQ(engine.calls.size(), calls);
    EXPECT_EQ(netdevs.count("remove vm1"), 0U);
}

TEST_F(BadConfig, of_a_row_that_was_not_served_ends_when_the_engine_says_so) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.die();
    set_socket("vm1", "relative.sock");
    start_agent();
    open_database();
    settle();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(BadConfig, that_comes_before_the_first_outcome_ends_the_port) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "relative.sock");
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(BadConfig, between_two_good_ones_leaves_the_second) {
    start();
    set_socket("vm1", "relative.sock");
    settle();
    netdevs.hold();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "relative.sock");
    settle();
    set_socket("vm1", "/run/2.sock");
    settle();
    netdevs.let_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(BadConfig, that_only_the_engine_can_find_is_invalid_with_its_words) {
    engine.refuse = occupied;
    start();
    set_socket("vm1", "/run/bad.sock");
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "socket-path-occupied");
    EXPECT_EQ(served("vm1"), "");
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(BadConfig, that_only_the_engine_can_find_leaves_a_served_port_as_it_was) {
    engine.refuse = occupied;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    set_socket("vm1", "/run/bad.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(BadConfig, that_the_world_puts_right_is_served_by_itself) {
    backoff = quick_retries;
    engine.refuse = occupied;
    start();
    set_socket("vm1", "/run/bad.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "invalid"; }));
    engine.refuse = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(BadConfig, that_is_tried_again_and_again_is_told_once) {
    backoff = quick_retries;
    engine.refuse = occupied;
    start();
    set_socket("vm1", "/run/bad.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "invalid"; }));
    const size_t written = writes;
    EXPECT_TRUE(until([this] { return engine.count("apply vm1") >= 6; }));
    EXPECT_EQ(writes, written);
}

TEST_F(BadConfig, that_the_engine_does_not_accept_is_told_once_and_tried_again) {
    backoff = quick_retries;
    engine.no_accept = [](const schema::PortSpec &) {
        return Error{schema::Reason::engine_error, "port.apply: too many"};
    };
    start();
    set_socket("vm1", "/run/1.sock");
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    EXPECT_THAT(detail("vm1"), HasSubstr("too many"));
    const size_t written = writes;
    EXPECT_TRUE(until([this] { return engine.count("apply vm1") >= 6; }));
    EXPECT_EQ(writes, written);
    engine.no_accept = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(BadConfig, that_the_engine_does_not_accept_is_named_on_a_served_port) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.no_accept = [](const schema::PortSpec &) {
        return Error{schema::Reason::engine_error, "port.apply: no"};
    };
    set_socket("vm1", "/run/2.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(BadConfig, a_change_of_the_row_does_not_wait_for_what_the_failures_before_led_to) {
    engine.no_accept = [](const schema::PortSpec &) {
        return Error{schema::Reason::engine_error, "port.apply: no"};
    };
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.no_accept = nullptr;
    set_socket("vm1", "/run/2.sock");
    settle();
    EXPECT_EQ(served("vm1"), "/run/2.sock");
}

TEST_F(BadConfig, what_ovs_vswitchd_writes_to_a_row_is_no_reason_to_try_again) {
    engine.no_accept = [](const schema::PortSpec &) {
        return Error{schema::Reason::engine_error, "port.apply: no"};
    };
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    const size_t calls = engine.calls.size();
    set("vm1", sw("/run/1.sock"), {{"written-by", "another"}});
    settle();
    EXPECT_EQ(engine.calls.size(), calls);
}

TEST_F(BadConfig, a_user_that_is_made_later_is_noticed) {
    backoff = quick_retries;
    start();
    auto options = sw("/run/1.sock");
    options["vdpa-socket-owner"] = "later:kvm";
    set("vm1", options);
    EXPECT_TRUE(until([this] { return reason("vm1") == "bad-socket-owner"; }));
    accounts.numbers["later"] = 1234;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(BadConfig, of_an_owner_does_not_keep_a_served_port_s_netdev_from_being_repaired) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    auto options = sw("/run/1.sock");
    options["vdpa-socket-owner"] = "nobody-knows";
    set("vm1", options);
    EXPECT_TRUE(until([this] { return reason("vm1") == "config-rejected"; }));
    netdevs.ensure_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    netdevs.remove_by_hand("vm1");
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    netdevs.ensure_error = nullptr;
    EXPECT_TRUE(until([this] { return netdevs.has("vm1") && state("vm1") == "listening"; }));
}

TEST_F(BadConfig, an_unknown_key_is_named_and_stops_nothing) {
    start();
    auto options = sw("/run/1.sock");
    options["vdpa-sokcet-perms"] = "0600";
    set("vm1", options);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "unknown-key");
    EXPECT_THAT(detail("vm1"), HasSubstr("vdpa-sokcet-perms"));
}

TEST_F(BadConfig, an_unknown_key_is_named_where_it_may_be_why_another_is_missing) {
    start();
    set("vm1", {{"vdpa-socket", "/run/1.sock"}, {"vdpa-ws", "true"}});
    settle();
    EXPECT_EQ(reason("vm1"), "no-device");
    EXPECT_THAT(detail("vm1"), HasSubstr("options:vdpa-ws means nothing"));
}

TEST_F(BadConfig, is_not_mixed_with_what_the_guest_is_not_offered) {
    engine.refuse = occupied;
    start();
    set_on_userspace_bridge("vm1", "/run/bad.sock");
    settle();
    EXPECT_EQ(board->port("vm1")->detail, "vdpa-socket: /run/bad.sock is a folder");
    set_on_userspace_bridge("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(board->port("vm1")->reason, schema::Reason::offloads_withheld);
}

TEST_F(BadConfig, of_the_host_s_default_is_not_taken_for_the_row_s) {
    start();
    set_other_config({{"vdpa-socket-owner", "nobody-knows"}});
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(detail("vm1"),
              "Open_vSwitch other_config:vdpa-socket-owner=nobody-knows: there is no user "
              "nobody-knows");
}

}  // namespace
}  // namespace vdpa::agent::reconcile
