// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::IsEmpty;

/* The database and its lock. */
class Lock : public Stack {};

TEST_F(Lock, that_another_holds_keeps_the_agent_from_acting) {
    start_agent();
    open_database();
    lose_lock();
    set_socket("vm1", "/run/1.sock");
    engine.connect();
    settle();
    EXPECT_THAT(engine.calls, IsEmpty());
    EXPECT_THAT(netdevs.devices, IsEmpty());
    EXPECT_EQ(state("vm1"), "");
    EXPECT_EQ(first_passes, 1U);
    EXPECT_TRUE(board->host().database.lock_contended);
}

TEST_F(Lock, that_is_lost_keeps_the_agent_from_acting) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    lose_lock();
    remove("vm1");
    set_socket("vm2", "/run/2.sock");
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_FALSE(engine.has("vm2"));
}

TEST_F(Lock, that_is_obtained_has_everything_carried_out) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    lose_lock();
    remove("vm1");
    set_socket("vm2", "/run/2.sock");
    settle();
    obtain_lock();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_EQ(state("vm2"), "listening");
}

TEST_F(Lock, that_is_obtained_from_another_agent_makes_what_that_one_recorded_ours) {
    start();
    lose_lock();
    settle();
    netdevs.devices["vm1"] = {3, {}};
    netdevs.record["vm1"] = 3;
    obtain_lock();
    settle();
    EXPECT_FALSE(netdevs.has("vm1")) << "no row names it";
}

TEST_F(Lock, that_comes_last_is_waited_for) {
    start_agent();
    set_socket("vm1", "/run/1.sock");
    open_database();
    agent->connection_changed({true, false, false, "unix:db.sock"});
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening") << "was held once; nobody else has it";
}

TEST_F(Lock, a_database_that_is_away_does_not_keep_engines_from_being_looked_after) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    agent->connection_changed({false, false, false, "unix:db.sock"});
    settle();
    engine.die();
    settle();
    engine.connect();
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
}

TEST_F(Lock, a_database_that_is_read_anew_ends_ports_that_are_not_in_it) {
    start();
    set_socket("vm1", "/run/1.sock");
    set_socket("vm2", "/run/2.sock");
    settle();
    agent->connection_changed({false, false, false, "unix:db.sock"});
    ovs::Changes changes;
    changes.complete = changes.has_global = true;
    changes.global.emplace();
    obtain_lock();
    agent->database_changed(changes);
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_THAT(netdevs.devices, IsEmpty());
}

TEST_F(Lock, a_database_that_lost_its_open_vswitch_row_keeps_everything) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    ovs::Changes wiped;
    wiped.complete = true;
    agent->database_changed(wiped);
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
    engine.die();
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
}

TEST_F(Lock, a_bad_value_of_the_host_is_told_by_the_host_s_status) {
    start();
    set_other_config({{"vdpa-lcore-mask", "zz"}});
    settle();
    EXPECT_EQ(status("", "vdpa-host-reason"), "bad-eal-option");
    EXPECT_THAT(status("", "vdpa-host-detail"), testing::HasSubstr("vdpa-lcore-mask=zz"));
    set_other_config({});
    settle();
    EXPECT_EQ(status("", "vdpa-host-reason"), "");
}

TEST_F(Lock, an_unknown_key_of_the_host_is_told_by_the_host_s_status) {
    start();
    set_other_config({{"vdpa-lcores", "3"}});
    settle();
    EXPECT_EQ(status("", "vdpa-host-reason"), "unknown-key");
}

TEST_F(Lock, the_first_pass_is_told_once) {
    start();
    EXPECT_EQ(first_passes, 1U);
    obtain_lock();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(first_passes, 1U);
}

TEST_F(Lock, the_first_pass_waits_for_the_database) {
    start_agent();
    engine.connect();
    obtain_lock();
    settle();
    EXPECT_EQ(first_passes, 0U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
