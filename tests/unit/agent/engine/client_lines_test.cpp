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

/* Under a line's limit by the envelope. */
constexpr size_t filling = 1'000'000;

/* What an engine may write, and in what pieces. */
class ClientLinesTest : public ClientTest {};

TEST_F(ClientLinesTest, puts_lines_together_that_come_in_pieces) {
    serve();
    server->answer = [this](const json &request) {
        const std::string line = *well_behaved(request);
        for (const char c : line) {
            server->write(std::string(1, c));
        }
        return std::nullopt;
    };
    client->set_start_params({});
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientLinesTest, takes_several_lines_that_come_at_once) {
    become_ready();
    std::string lines;
    for (int i = 0; i < 50; i++) {
        lines += notification_line("port.changed", encode(status_of("vm" + std::to_string(i))));
    }
    server->write("\n" + lines);
    EXPECT_TRUE(until([this] { return listener.changes.size() == 50; }));
    EXPECT_EQ(listener.changes[49].name, "vm49");
}

TEST_F(ClientLinesTest, takes_answers_in_whatever_order_they_come) {
    become_ready();
    std::vector<json> held;
    server->answer = [&held](const json &request) {
        held.push_back(request);
        return std::nullopt;
    };
    std::vector<uint64_t> generations(3);
    for (size_t i = 0; i < 3; i++) {
        client->apply(status_of("vm1").spec, [&generations, i](const auto &result) {
            generations[i] = result->generation;
        });
    }
    ASSERT_TRUE(until([&held] { return held.size() == 3; }));
    for (const size_t i : {2, 0, 1}) {
        server->write(result_line(held[i], {{"generation", 10 + i}, {"changed", true}}));
    }
    ASSERT_TRUE(until([&generations] { return generations[1] != 0; }));
    EXPECT_THAT(generations, ElementsAre(10, 11, 12));
}

TEST_F(ClientLinesTest, hands_an_error_of_the_engine_over_with_its_words) {
    become_ready();
    server->answer = [](const json &request) {
        return error_line(request, -32002, "as many as it can");
    };
    const auto answer = apply_and_wait();
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().reason, Reason::engine_error);
    EXPECT_THAT(answer->error().detail, HasSubstr("as many as it can"));
    EXPECT_TRUE(listener.downs.empty());
}

TEST_F(ClientLinesTest, takes_errors_of_any_shape) {
    become_ready();
    for (const json &error : {json("text"), json(7), json::object(), json{{"message", 7}}}) {
        server->answer = [&error](const json &request) {
            return json{{"jsonrpc", "2.0"}, {"id", request["id"]}, {"error", error}}.dump() + "\n";
        };
        const auto answer = apply_and_wait();
        ASSERT_FALSE(*answer);
        EXPECT_EQ(answer->error().reason, Reason::engine_error);
    }
}

TEST_F(ClientLinesTest, calls_an_answer_incompatible_that_is_not_as_the_schema_says) {
    become_ready();
    for (const json &result :
         {json{{"generation", "5"}, {"changed", true}}, json{{"changed", true}},
          json{{"generation", -1}, {"changed", true}}, json::array()}) {
        server->answer = [&result](const json &request) { return result_line(request, result); };
        const auto answer = apply_and_wait();
        ASSERT_FALSE(*answer) << result;
        EXPECT_EQ(answer->error().reason, Reason::engine_incompatible);
    }
    EXPECT_TRUE(listener.downs.empty());
}

TEST_F(ClientLinesTest, passes_over_fields_that_it_does_not_know) {
    become_ready();
    server->answer = [](const json &request) {
        return result_line(request, {{"generation", 9}, {"changed", true}, {"novelty", {1, 2}}});
    };
    EXPECT_EQ((*apply_and_wait())->generation, 9U);
}

TEST_F(ClientLinesTest, passes_over_answers_to_nothing_and_notifications_it_does_not_know) {
    become_ready();
    server->write(
        "{\"jsonrpc\":\"2.0\",\"id\":999,\"result\":{}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"port.exploded\",\"params\":{}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":7}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"port.changed\",\"params\":{\"name\":7}}\n");
    EXPECT_EQ((*apply_and_wait())->generation, 5U);
    EXPECT_TRUE(listener.changes.empty());
    EXPECT_TRUE(listener.downs.empty());
}

class ClientGarbage : public ClientTest, public testing::WithParamInterface<const char *> {};

TEST_P(ClientGarbage, ends_the_connection_and_another_is_made) {
    become_ready();
    server->write(GetParam());
    ASSERT_TRUE(until([this] { return listener.ready == 2; }));
    ASSERT_THAT(listener.downs, SizeIs(1));
    EXPECT_EQ(listener.downs[0].reason, Reason::engine_down);
}

INSTANTIATE_TEST_SUITE_P(Lines, ClientGarbage,
                         testing::Values("garbage\n", "[1,2]\n", "7\n", "{\"a\":\n", "\xff\xfe\n",
                                         "{} {}\n",
                                         "[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]\n"));

TEST_F(ClientLinesTest, ends_a_connection_whose_line_never_ends) {
    become_ready();
    server->write(std::string(schema::max_message_bytes + 1, 'x'));
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    EXPECT_THAT(listener.downs[0].detail, HasSubstr("longer than 4 MiB"));
    EXPECT_TRUE(until([this] { return listener.ready == 2; }));
}

TEST_F(ClientLinesTest, takes_a_list_that_fills_a_message) {
    serve();
    server->answer = [this](const json &request) -> std::optional<std::string> {
        if (request["method"] != "port.list") {
            return well_behaved(request);
        }
        json list = {{"ports", json::array({encode(status_of("vm1"))})}};
        list["filler"] = std::string(filling, 'x');
        return result_line(request, list);
    };
    client->set_start_params({});
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

}  // namespace
}  // namespace vdpa::agent::engine
