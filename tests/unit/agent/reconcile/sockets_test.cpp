// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::HasSubstr;

/* Several ports and the sockets they want. That no engine is ever told to serve one socket for two
 * is checked at the end of every test. */
class Sockets : public Stack {};

TEST_F(Sockets, of_two_that_want_the_same_the_one_that_is_served_wins) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "duplicate-socket");
    EXPECT_EQ(engine.socket_of("vm2"), "/run/a.sock");
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(Sockets, both_of_two_that_want_the_same_name_the_other) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    EXPECT_THAT(detail("vm1"), HasSubstr("vm2"));
    EXPECT_EQ(state("vm2"), "listening");
    EXPECT_THAT(detail("vm2"), HasSubstr("vm1"));
}

TEST_F(Sockets, of_two_that_come_together_the_smaller_name_wins) {
    start();
    in_one_transaction([this] {
        set_socket("vm2", "/run/a.sock");
        set_socket("vm1", "/run/a.sock");
    });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "invalid");
}

TEST_F(Sockets, the_loser_is_served_when_the_winner_goes) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    remove("vm2");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(detail("vm1"), "");
}

TEST_F(Sockets, the_winner_s_note_goes_with_the_loser) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    remove("vm1");
    settle();
    EXPECT_EQ(reason("vm2"), "");
}

TEST_F(Sockets, the_winner_stays_the_winner_when_the_engine_is_restarted) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    engine.die();
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    engine.connect();
    settle();
    EXPECT_EQ(engine.socket_of("vm2"), "/run/a.sock");
    EXPECT_EQ(state("vm1"), "invalid");
}

TEST_F(Sockets, the_winner_stays_the_winner_when_agent_and_engine_are_killed) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    engine.die();
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(engine.socket_of("vm2"), "/run/a.sock");
    EXPECT_EQ(state("vm1"), "invalid");
}

TEST_F(Sockets, the_winner_stays_the_winner_when_the_agent_ends_after_it_noticed_the_engine_s_end) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    set_socket("vm1", "/run/a.sock");
    settle();
    engine.die();
    settle();
    EXPECT_EQ(served("vm2"), "");
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(engine.socket_of("vm2"), "/run/a.sock");
    EXPECT_EQ(state("vm1"), "invalid");
}

TEST_F(Sockets, a_served_row_that_is_set_to_another_s_socket_keeps_its_own) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    settle();
    set_socket("vm1", "/run/b.sock");
    settle();
    EXPECT_EQ(engine.socket_of("vm1"), "/run/a.sock");
    EXPECT_EQ(engine.socket_of("vm2"), "/run/b.sock");
    EXPECT_EQ(reason("vm1"), "config-rejected");
    EXPECT_THAT(detail("vm1"), HasSubstr("vm2"));
}

TEST_F(Sockets, a_third_waits_for_a_socket_that_is_kept_and_gets_it_when_it_is_left) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    settle();
    set_socket("vm1", "/run/b.sock");
    set_socket("vm3", "/run/a.sock");
    settle();
    EXPECT_EQ(reason("vm3"), "duplicate-socket");
    remove("vm2");
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm3"), "/run/a.sock");
}

TEST_F(Sockets, two_rows_may_trade_them_in_one_transaction) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/a.sock");
    });
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/a.sock");
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(Sockets, three_rows_may_trade_them_in_a_ring) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    set_socket("vm3", "/run/c.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/c.sock");
        set_socket("vm3", "/run/a.sock");
    });
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/c.sock");
    EXPECT_EQ(served("vm3"), "/run/a.sock");
}

TEST_F(Sockets, two_rows_may_trade_them_while_outcomes_are_awaited) {
    start();
    engine.hold_outcomes();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/a.sock");
    });
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/a.sock");
}

TEST_F(Sockets, a_chain_of_moves_in_one_transaction_needs_no_removal) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    set_socket("vm3", "/run/c.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/c.sock");
        set_socket("vm3", "/run/d.sock");
    });
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/c.sock");
    EXPECT_EQ(served("vm3"), "/run/d.sock");
}

TEST_F(Sockets, a_row_may_take_that_of_a_row_deleted_in_the_same_transaction) {
    start();
    set_socket("vm2", "/run/a.sock");
    settle();
    in_one_transaction([this] {
        set_socket("vm1", "/run/a.sock");
        remove("vm2");
    });
    settle();
    EXPECT_EQ(served("vm1"), "/run/a.sock");
    EXPECT_FALSE(engine.has("vm2"));
}

TEST_F(Sockets, a_trade_is_finished_by_the_agent_that_comes_after) {
    start();
    set_socket("vm1", "/run/a.sock");
    set_socket("vm2", "/run/b.sock");
    settle();
    start_agent();
    in_one_transaction([this] {
        set_socket("vm1", "/run/b.sock");
        set_socket("vm2", "/run/a.sock");
    });
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(served("vm1"), "/run/b.sock");
    EXPECT_EQ(served("vm2"), "/run/a.sock");
}

}  // namespace
}  // namespace vdpa::agent::reconcile
