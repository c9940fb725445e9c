// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::IsEmpty;

class Release : public Stack {};

TEST_F(Release, a_row_that_goes_leaves_nothing) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    remove("vm1");
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_THAT(netdevs.record, IsEmpty());
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, the_netdev_stays_until_the_engine_has_let_go) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_outcomes();
    remove("vm1");
    settle();
    EXPECT_TRUE(netdevs.has("vm1"));
    engine.let_outcomes_go();
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(Release, a_row_that_goes_while_the_engine_is_at_work_leaves_nothing) {
    start();
    begin_to_serve("vm1", "/run/1.sock");
    remove("vm1");
    settle();
    EXPECT_TRUE(netdevs.has("vm1")) << "the engine may have it open";
    engine.let_outcomes_go();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, a_row_that_goes_before_the_engine_has_answered_leaves_nothing) {
    start();
    engine.hold_answers();
    set_socket("vm1", "/run/1.sock");
    settle();
    remove("vm1");
    settle();
    engine.let_answers_go();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(Release, a_row_that_goes_while_the_netdev_is_made_leaves_nothing) {
    start();
    netdevs.hold();
    set_socket("vm1", "/run/1.sock");
    settle();
    remove("vm1");
    settle();
    netdevs.let_go();
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, a_row_made_again_in_the_same_pass_is_no_change) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    remove("vm1");
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(engine.count("remove vm1"), 0U);
    EXPECT_EQ(engine.count("apply vm1"), 1U);
    EXPECT_EQ(netdevs.count("remove vm1"), 0U);
}

TEST_F(Release, a_row_that_comes_back_while_the_engine_lets_go_is_served_again) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_outcomes();
    remove("vm1");
    settle();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.let_outcomes_go();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_TRUE(netdevs.has("vm1"));
}

TEST_F(Release, a_row_that_comes_back_while_the_netdev_is_deleted_is_served_again) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.hold();
    remove("vm1");
    settle();
    ASSERT_EQ(netdevs.count("remove vm1"), 1U);
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.let_go();
    settle();
    EXPECT_TRUE(engine.serves("vm1"));
    EXPECT_TRUE(netdevs.has("vm1"));
}

TEST_F(Release, goes_on_without_an_engine_that_is_away_and_that_is_told_when_it_is_back) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.disconnect();
    remove("vm1");
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_TRUE(engine.has("vm1"));
    engine.connect();
    settle();
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, goes_on_when_the_connection_is_lost_before_the_answer) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.hold_answers();
    remove("vm1");
    settle();
    engine.disconnect();
    settle();
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, an_engine_that_does_not_let_go_is_asked_again_but_not_at_once) {
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.no_remove = [] { return Error{schema::Reason::engine_error, "no"}; };
    remove("vm1");
    settle();
    EXPECT_EQ(engine.count("remove vm1"), 1U);
    EXPECT_TRUE(netdevs.has("vm1"));
}

TEST_F(Release, an_engine_that_did_not_let_go_and_now_does_is_noticed) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    engine.no_remove = [] { return Error{schema::Reason::engine_error, "no"}; };
    remove("vm1");
    EXPECT_TRUE(until([this] { return engine.count("remove vm1") >= 3; }));
    engine.no_remove = nullptr;
    EXPECT_TRUE(until([this] { return !netdevs.has("vm1") && board->ports().empty(); }));
}

TEST_F(Release, a_netdev_that_cannot_be_deleted_is_tried_again) {
    backoff = quick_retries;
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    netdevs.remove_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    remove("vm1");
    EXPECT_TRUE(until([this] { return netdevs.count("remove vm1") >= 3; }));
    netdevs.remove_error = nullptr;
    EXPECT_TRUE(until([this] { return !netdevs.has("vm1") && board->ports().empty(); }));
}

TEST_F(Release, of_a_port_whose_netdev_could_not_be_made_does_not_wait) {
    netdevs.ensure_error = [](const std::string &) {
        return Error{schema::Reason::tap_failed, "no"};
    };
    start();
    set_socket("vm1", "/run/1.sock");
    settle();
    EXPECT_EQ(state("vm1"), "failed");
    remove("vm1");
    settle();
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, of_a_port_whose_name_is_taken_leaves_the_netdev_of_that_name) {
    netdevs.add_foreign("eth7");
    start();
    set_socket("eth7", "/run/1.sock");
    settle();
    EXPECT_EQ(reason("eth7"), "name-taken");
    remove("eth7");
    settle();
    EXPECT_TRUE(netdevs.has("eth7"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Release, of_hundreds_of_ports_in_one_transaction_leaves_nothing) {
    start();
    constexpr int many = 300;
    in_one_transaction([this] {
        for (int i = 0; i < many; i++) {
            set_socket("vm" + std::to_string(i), "/run/" + std::to_string(i));
        }
    });
    settle();
    EXPECT_EQ(netdevs.devices.size(), static_cast<size_t>(many));
    in_one_transaction([this] {
        for (int i = 0; i < many; i++) {
            remove("vm" + std::to_string(i));
        }
    });
    settle();
    EXPECT_THAT(netdevs.devices, IsEmpty());
    EXPECT_THAT(board->ports(), IsEmpty());
    EXPECT_EQ(engine.count("apply"), static_cast<size_t>(many));
}

}  // namespace
}  // namespace vdpa::agent::reconcile
