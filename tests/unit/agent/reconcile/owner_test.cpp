// SPDX-License-Identifier: Apache-2.0
// The owner of a socket, as the host's name service tells it or does not.
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Owner : public Stack {
  protected:
    schema::StringMap owned_by(const std::string &owner,
                               const std::string &path = "/run/1.sock") const {
        auto options = sw(path);
        options["vdpa-socket-owner"] = owner;
        return options;
    }
    std::optional<uint32_t> uid(const std::string &name) const {
        return engine.accepted(name).socket.uid;
    }
    /* Nobody is patient any more. */
    void lose_patience() { account_patience = std::chrono::milliseconds(1); }
    /* Until an account has been asked for that often since. */
    testing::AssertionResult until_looked_up_again(size_t times) {
        const size_t before = accounts.lookups;
        return until([this, before, times] { return accounts.lookups >= before + times; });
    }
};

TEST_F(Owner, that_is_told_at_once_is_in_the_first_report) {
    first_report_delay = std::chrono::hours(1);
    start();
    set("vm1", owned_by("qemu:kvm"));
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(uid("vm1"), 64U);
    EXPECT_EQ(writes, 1U) << "nothing was said of it before";
}

TEST_F(Owner, that_is_not_told_is_waited_for_and_named) {
    lose_patience();
    accounts.is_asleep = true;
    start();
    set("vm1", owned_by("qemu:kvm"));
    EXPECT_TRUE(until([this] { return state("vm1") == "waiting"; }));
    EXPECT_EQ(reason("vm1"), "owner-unresolved");
    EXPECT_THAT(detail("vm1"), AllOf(HasSubstr("vdpa-socket-owner=qemu:kvm"), HasSubstr("NSS")));
    EXPECT_FALSE(engine.has("vm1"));
    accounts.wake_up();
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(Owner, that_is_not_told_does_not_hold_up_other_ports) {
    accounts.is_asleep = true;
    start();
    set("vm1", owned_by("qemu"));
    set_socket("vm2", "/run/2.sock");
    set("vm3", owned_by("64:104", "/run/3.sock"));
    settle();
    EXPECT_EQ(state("vm2"), "listening");
    EXPECT_EQ(state("vm3"), "listening");
}

TEST_F(Owner, that_is_told_serves_every_port_that_waits_for_it) {
    accounts.is_asleep = true;
    start();
    set_other_config({{"vdpa-socket-owner", "qemu"}});
    set("vm1", owned_by("qemu"));
    set_socket("vm2", "/run/2.sock");
    settle();
    accounts.wake_up();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "listening");
    EXPECT_EQ(uid("vm2"), 64U);
}

TEST_F(Owner, that_is_not_told_leaves_a_served_port_its_settings) {
    lose_patience();
    start();
    set("vm1", owned_by("qemu"));
    settle();
    accounts.is_asleep = true;
    set("vm1", owned_by("other", "/run/2.sock"));
    EXPECT_TRUE(until([this] { return reason("vm1") == "owner-unresolved"; }));
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(served("vm1"), "/run/1.sock");
    EXPECT_THAT(detail("vm1"), HasSubstr("goes on with the settings it had"));
    accounts.numbers["other"] = 65;
    accounts.wake_up();
    EXPECT_TRUE(until([this] { return served("vm1") == "/run/2.sock"; }));
    EXPECT_EQ(reason("vm1"), "");
    EXPECT_EQ(uid("vm1"), 65U);
}

TEST_F(Owner, that_is_told_at_once_is_given_to_a_served_port_without_a_word) {
    start();
    set("vm1", owned_by("qemu"));
    settle();
    const size_t written = writes;
    set("vm1", owned_by("kvm"));
    settle();
    EXPECT_EQ(uid("vm1"), 104U);
    EXPECT_EQ(writes, written);
}

TEST_F(Owner, that_is_not_told_keeps_no_other_setting_from_a_served_socket) {
    accounts.is_asleep = true;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    auto options = owned_by("qemu");
    options["vdpa-max-queues"] = "4";
    set("vm1", options);
    settle();
    EXPECT_EQ(engine.accepted("vm1").max_queues, 4U);
    EXPECT_EQ(uid("vm1"), std::nullopt);
}

TEST_F(Owner, that_is_not_told_to_a_new_agent_changes_nothing_of_a_served_port) {
    lose_patience();
    host.add_pf(2);
    start();
    auto options = on("/run/vm1.sock", "0000:43:00.2");
    options["vdpa-socket-owner"] = "qemu";
    set("vm1", options);
    settle();
    ASSERT_EQ(state("vm1"), "listening");
    const auto calls = engine.calls;
    const std::string function_before = function("vm1");
    accounts.is_asleep = true;
    start();
    EXPECT_TRUE(until([this] { return reason("vm1") == "owner-unresolved"; }));
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(function("vm1"), function_before);
    EXPECT_EQ(engine.calls, calls);
    accounts.wake_up();
    EXPECT_TRUE(until([this] { return reason("vm1") == ""; }));
    EXPECT_EQ(engine.calls, calls);
}

TEST_F(Owner, that_is_not_told_to_a_new_agent_leaves_the_netdev_of_a_port_that_is_not_served) {
    start();
    set("vm1", owned_by("qemu"));
    settle();
    ASSERT_TRUE(netdevs.has("vm1"));
    engine.die();
    accounts.is_asleep = true;
    start();
    EXPECT_EQ(netdevs.count("remove vm1"), 0U);
    EXPECT_TRUE(netdevs.has("vm1"));
    accounts.wake_up();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Owner, that_is_not_told_does_not_lose_a_port_its_socket_to_another) {
    accounts.is_asleep = true;
    start();
    set("vm1", owned_by("qemu"));
    set_socket("vm2", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm2"), "invalid");
    EXPECT_EQ(reason("vm2"), "duplicate-socket");
    accounts.wake_up();
    settle();
    EXPECT_EQ(served("vm1"), "/run/1.sock");
}

TEST_F(Owner, that_could_not_be_told_is_asked_for_again) {
    lose_patience();
    accounts.is_asleep = true;
    start();
    set("vm1", owned_by("qemu"));
    EXPECT_TRUE(until_looked_up_again(3));
}

TEST_F(Owner, that_does_not_exist_is_asked_for_again) {
    lose_patience();
    start();
    set("vm1", owned_by("later"));
    EXPECT_TRUE(until([this] { return reason("vm1") == "bad-socket-owner"; }));
    EXPECT_EQ(state("vm1"), "invalid");
    accounts.numbers["later"] = 1234;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
    EXPECT_EQ(uid("vm1"), 1234U);
}

TEST_F(Owner, that_is_asked_for_again_keeps_its_last_answer) {
    start();
    set("vm1", owned_by("qemu"));
    settle();
    accounts.is_asleep = true;
    set("vm2", owned_by("qemu", "/run/2.sock"));
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "listening");
    accounts.numbers["qemu"] = 65;
    accounts.wake_up();
    settle();
    EXPECT_EQ(uid("vm1"), 65U);
    EXPECT_EQ(uid("vm2"), 65U);
}

TEST_F(Owner, that_nobody_names_any_more_is_forgotten) {
    start();
    set("vm1", owned_by("qemu"));
    settle();
    const config::AccountName qemu{config::AccountName::Kind::user, "qemu"};
    EXPECT_EQ(accounts.find(qemu).id, 64U);
    set_socket("vm1", "/run/1.sock");
    EXPECT_EQ(accounts.find(qemu), config::Account());
}

TEST_F(Owner, is_not_asked_for_because_the_row_s_status_is_written) {
    start();
    set("vm1", owned_by("qemu"));
    settle();
    EXPECT_EQ(accounts.lookups, 1U);
    set("vm1", owned_by("qemu"), {{"written-by", "another"}});
    settle();
    EXPECT_EQ(accounts.lookups, 1U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
