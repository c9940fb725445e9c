// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/* Rows whose device changes, and rows that want one device. */
class DeviceChange : public Stack {
  protected:
    void start_with(uint32_t vfs) {
        host.add_pf(vfs);
        start();
    }
    void expect_on(const std::string &name, uint32_t vf) {
        EXPECT_EQ(state(name), "listening") << name << ": " << detail(name);
        EXPECT_EQ(engine.device_of(name), "0000:43:00." + std::to_string(vf + 2));
        EXPECT_EQ(host.netdev(vf), name);
        EXPECT_EQ(function(name), "0000:43:00.0,pf0vf" + std::to_string(vf));
    }
};

TEST_F(DeviceChange, of_a_live_row_gives_the_old_vf_back_before_it_takes_the_new_one) {
    start_with(3);
    set_vf("vm1", 0);
    set_vf("vm2", 2);
    settle();
    set_vf("vm1", 1);
    settle();
    expect_on("vm1", 1);
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_FALSE(host.vf(0).representor->up);
    EXPECT_EQ(engine.count("apply vm2"), 1U);
    EXPECT_EQ(host.count("ensure vm2"), 1U);
}

TEST_F(DeviceChange, of_two_rows_in_one_transaction_swaps_them) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    in_one_transaction([this] {
        set_vf("vm1", 1);
        set_vf("vm2", 0);
    });
    settle();
    expect_on("vm1", 1);
    expect_on("vm2", 0);
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(DeviceChange, of_two_rows_with_the_switch_stopped_swaps_them) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    host.switch_stopped = true;
    in_one_transaction([this] {
        set_vf("vm1", 1);
        set_vf("vm2", 0);
    });
    settle();
    expect_on("vm1", 1);
    expect_on("vm2", 0);
}

TEST_F(DeviceChange, of_three_rows_in_a_ring_in_one_transaction) {
    start_with(3);
    for (uint32_t i = 0; i < 3; i++) {
        set_vf("vm" + std::to_string(i), i);
    }
    settle();
    in_one_transaction([this] {
        for (uint32_t i = 0; i < 3; i++) {
            set_vf("vm" + std::to_string(i), (i + 1) % 3);
        }
    });
    settle();
    for (uint32_t i = 0; i < 3; i++) {
        expect_on("vm" + std::to_string(i), (i + 1) % 3);
    }
}

TEST_F(DeviceChange, is_finished_by_the_agent_that_comes_after) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    start_agent();
    in_one_transaction([this] {
        set_vf("vm1", 1);
        set_vf("vm2", 0);
    });
    open_database();
    engine.connect();
    settle();
    expect_on("vm1", 1);
    expect_on("vm2", 0);
}

TEST_F(DeviceChange, is_finished_whenever_the_agent_is_killed) {
    for (int steps = 1; steps < 60; steps += 3) {
        SCOPED_TRACE(steps);
        host.inventory.pfs.clear();
        host.add_pf(2);
        start();
        set_vf("vm1", 0);
        set_vf("vm2", 1);
        settle();
        in_one_transaction([this] {
            set_vf("vm1", 1);
            set_vf("vm2", 0);
        });
        take_steps(steps);
        start_agent();
        open_database();
        engine.connect();
        settle();
        expect_on("vm1", 1);
        expect_on("vm2", 0);
        remove("vm1");
        remove("vm2");
        settle();
        EXPECT_THAT(host.record, IsEmpty());
    }
}

TEST_F(DeviceChange, to_a_vf_that_a_row_deleted_in_the_same_transaction_had) {
    start_with(2);
    set_vf("vm2", 1);
    settle();
    in_one_transaction([this] {
        set_vf("vm1", 1);
        remove("vm2");
    });
    settle();
    expect_on("vm1", 1);
    EXPECT_FALSE(engine.has("vm2"));
}

TEST_F(DeviceChange, from_an_emulated_vf_to_a_vf_and_back) {
    start_with(1);
    set_socket("vm1", "/run/vm1.sock");
    settle();
    ASSERT_TRUE(netdevs.has("vm1"));
    set_vf("vm1", 0);
    settle();
    expect_on("vm1", 0);
    EXPECT_FALSE(netdevs.has("vm1"));
    set_socket("vm1", "/run/vm1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "vm1");
    EXPECT_TRUE(netdevs.has("vm1"));
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_EQ(function("vm1"), "");
}

TEST_F(DeviceChange, to_one_that_is_not_there_keeps_the_guest_on_the_old_one) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    set_vf("vm1", 5);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_THAT(detail("vm1"), HasSubstr("0000:43:00.7"));
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2");
    EXPECT_EQ(host.count("release"), 0U);
    host.put_vf(5);
    settle();
    expect_on("vm1", 5);
    EXPECT_EQ(host.netdev(0), "eth0");
}

TEST_F(DeviceChange, to_nonsense_keeps_the_guest_on_the_old_one) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    set("vm1", on("/run/vm1.sock", "nonsense"));
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2");
    // The agent that comes after knows the good settings from the engine.
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(engine.count("remove"), 0U);
    set_vf("vm1", 0);
    settle();
    expect_on("vm1", 0);
    EXPECT_EQ(reason("vm1"), "");
    EXPECT_EQ(engine.count("apply"), 1U);
}

TEST_F(DeviceChange, of_a_row_that_was_never_served_lets_go_of_what_it_had) {
    start_with(2);
    engine.die();
    set_vf("vm1", 0);
    settle();
    ASSERT_EQ(host.netdev(0), "vm1");
    set_vf("vm1", 5);
    settle();
    EXPECT_EQ(reason("vm1"), "device-missing");
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_THAT(host.record, IsEmpty());
}

TEST_F(DeviceChange, to_one_that_another_has_is_refused_and_both_name_each_other) {
    start_with(2);
    set_vf("vm2", 0);
    settle();
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "duplicate-device");
    EXPECT_THAT(detail("vm1"), HasSubstr("vm2"));
    EXPECT_EQ(state("vm2"), "listening");
    EXPECT_EQ(reason("vm2"), "duplicate-device");
    EXPECT_THAT(detail("vm2"), HasSubstr("vm1"));
    remove("vm2");
    settle();
    expect_on("vm1", 0);
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(DeviceChange, of_two_that_name_one_vf_in_different_ways_the_served_one_wins) {
    start_with(2);
    set("vm2", on("/run/2.sock", "", "0000:43:00.0,vf0"));
    settle();
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(reason("vm1"), "duplicate-device");
    EXPECT_EQ(engine.device_of("vm2"), "0000:43:00.2");
}

TEST_F(DeviceChange, of_two_that_name_a_vf_which_is_not_there_the_smaller_name_is_to_have_it) {
    start();
    in_one_transaction([this] {
        set_vf("vm2", 0);
        set_vf("vm1", 0);
    });
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "device-missing");
    EXPECT_THAT(detail("vm1"), HasSubstr("vm2"));
    EXPECT_EQ(state("vm2"), "invalid");
    EXPECT_EQ(reason("vm2"), "duplicate-device");
    EXPECT_THAT(detail("vm2"), HasSubstr("vm1"));
    host.add_pf(1);
    settle();
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2");
}

TEST_F(DeviceChange, the_winner_stays_the_winner_when_agent_and_engine_are_killed) {
    start_with(1);
    set_vf("vm2", 0);
    settle();
    set_vf("vm1", 0);
    settle();
    engine.die();
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(engine.device_of("vm2"), "0000:43:00.2");
    EXPECT_EQ(state("vm1"), "invalid");
}

TEST_F(DeviceChange, a_served_row_that_is_set_to_another_s_vf_keeps_its_own) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    set_vf("vm1", 1);
    settle();
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2");
    EXPECT_EQ(engine.device_of("vm2"), "0000:43:00.3");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_EQ(host.count("release"), 0U);
}

TEST_F(DeviceChange, of_socket_and_device_at_once_trades_both) {
    start_with(2);
    set("vm1", on("/run/a.sock", "0000:43:00.2"));
    set("vm2", on("/run/b.sock", "0000:43:00.3"));
    settle();
    in_one_transaction([this] {
        set("vm1", on("/run/b.sock", "0000:43:00.3"));
        set("vm2", on("/run/a.sock", "0000:43:00.2"));
    });
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/a.sock");
    expect_on("vm1", 1);
    expect_on("vm2", 0);
}

TEST_F(DeviceChange, while_the_engine_is_away_is_carried_out_when_it_is_back) {
    start_with(2);
    set_vf("vm1", 0);
    settle();
    engine.disconnect();
    settle();
    set_vf("vm1", 1);
    settle();
    engine.connect();
    settle();
    expect_on("vm1", 1);
    EXPECT_EQ(host.netdev(0), "eth0");
}

}  // namespace
}  // namespace vdpa::agent::reconcile
