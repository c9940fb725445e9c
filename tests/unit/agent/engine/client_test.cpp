// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/engine/client_fixture.hpp"

namespace vdpa::agent::engine {
namespace {

using nlohmann::json;
using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

TEST_F(ClientTest, asks_starts_and_lists_in_this_order) {
    serve();
    client->set_start_params({.eal = {"-l", "1"}, .workers = {2}});
    ASSERT_TRUE(until([this] { return listener.ready == 1; }));
    EXPECT_THAT(server->methods(), ElementsAre("engine.info", "engine.start", "port.list"));
    EXPECT_EQ(server->requests[1]["params"], (json{{"eal", {"-l", "1"}}, {"workers", {2}}}));
    EXPECT_EQ(listener.info, engine_info);
    ASSERT_THAT(listener.ports, SizeIs(1));
    EXPECT_EQ(listener.ports[0], status_of("vm1"));
    EXPECT_TRUE(listener.downs.empty());
}

TEST_F(ClientTest, tells_again_what_the_engine_runs_when_it_is_asked_to) {
    become_ready();
    client->refresh();
    ASSERT_TRUE(until([this] { return listener.ready == 2; }));
    EXPECT_THAT(server->methods(),
                ElementsAre("engine.info", "engine.start", "port.list", "port.list"));
    ASSERT_THAT(listener.ports, SizeIs(1));
    EXPECT_EQ(listener.ports[0], status_of("vm1"));
    EXPECT_TRUE(listener.downs.empty());
}

TEST_F(ClientTest, asks_nothing_again_of_an_engine_that_is_not_there) {
    client->refresh();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return listener.downs.size() == 1; }));
    client->refresh();
    EXPECT_EQ(listener.ready, 0);
}

TEST_F(ClientTest, does_not_connect_before_it_is_told_what_to_start_with) {
    serve();
    io.poll();
    EXPECT_EQ(server->connections, 0U);
}

TEST_F(ClientTest, waits_for_an_engine_that_is_not_there_yet) {
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return listener.downs.size() == 1; }));
    EXPECT_EQ(listener.downs[0].reason, Reason::engine_down);
    EXPECT_THAT(listener.downs[0].detail, HasSubstr(path));
    serve();
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
    EXPECT_THAT(listener.downs, SizeIs(1)) << "the same reason is told once";
}

TEST_F(ClientTest, hands_the_answers_of_each_method_over) {
    become_ready();
    const auto applied = apply_and_wait();
    ASSERT_TRUE(applied && *applied);
    EXPECT_EQ((*applied)->generation, 5U);
    std::optional<Expected<schema::PortRemoveResult>> removed;
    std::optional<Expected<schema::PortStats>> stats;
    client->remove("vm1", [&removed](const auto &result) { removed = result; });
    client->stats("vm1", [&stats](const auto &result) { stats = result; });
    std::optional<Expected<schema::Empty>> reset;
    client->reset_stats("vm1", [&reset](const auto &result) { reset = result; });
    ASSERT_TRUE(until([&] { return removed && stats && reset; }));
    EXPECT_TRUE(reset->has_value());
    EXPECT_TRUE((*removed)->existed);
    EXPECT_EQ((*stats)->queues.at(0).counters.at("packets"), 2U);
}

TEST_F(ClientTest, answers_open_calls_when_the_connection_ends_in_the_middle_of_an_answer) {
    become_ready();
    server->answer = [this](const json &request) {
        if (request["method"] != "port.apply") {
            return well_behaved(request);
        }
        const std::string line = *well_behaved(request);
        server->write(line.substr(0, line.size() / 2));
        server->hang_up();
        return std::optional<std::string>();
    };
    const auto answer = apply_and_wait();
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().reason, Reason::engine_down);
    EXPECT_TRUE(until([this] { return listener.ready == 2; }));
}

TEST_F(ClientTest, tells_the_listener_before_it_makes_another_connection) {
    become_ready();
    server->hang_up();
    ASSERT_TRUE(until([this] { return listener.ready == 2; }));
    EXPECT_THAT(listener.downs, SizeIs(1));
}

TEST_F(ClientTest, answers_calls_that_are_made_without_a_connection_later) {
    const auto answer = apply_and_wait();
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().reason, Reason::engine_down);
}

TEST_F(ClientTest, answers_open_calls_when_it_is_destroyed) {
    become_ready();
    server->answer = nullptr;
    int answers = 0;
    client->apply(status_of("vm1").spec, [&answers](const auto &result) {
        answers++;
        EXPECT_FALSE(result);
    });
    client.reset();
    EXPECT_EQ(answers, 1);
}

TEST_F(ClientTest, tells_of_no_change_before_the_list) {
    serve();
    server->answer = [this](const json &request) {
        const auto line = well_behaved(request);
        return notification_line("port.changed", encode(status_of("vm1"))) + *line;
    };
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return listener.ready == 1; }));
    EXPECT_TRUE(listener.changes.empty());
}

TEST_F(ClientTest, ends_a_connection_on_which_an_answer_is_late) {
    serve();
    server->answer = nullptr;
    boost::asio::local::stream_protocol::socket socket(io);
    socket.connect(boost::asio::local::stream_protocol::endpoint(path));
    const auto connection = std::make_shared<RpcConnection>(std::move(socket), path);
    std::optional<Error> closed;
    std::vector<Error> answers;
    connection->start([](const std::string &, const json &) {},
                      [&closed](const Error &why) { closed = why; });
    const auto keep = [&answers](const Expected<json> &answer) {
        ASSERT_FALSE(answer);
        answers.push_back(answer.error());
    };
    connection->call("port.list", json::object(), std::chrono::hours(1), keep);
    connection->call("port.apply", json::object(), std::chrono::milliseconds(1), keep);
    ASSERT_TRUE(until([&closed] { return closed.has_value(); }));
    EXPECT_THAT(closed->detail, HasSubstr("port.apply"));
    EXPECT_THAT(answers, SizeIs(2));
}

}  // namespace
}  // namespace vdpa::agent::engine
