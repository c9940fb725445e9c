// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/engine/client_fixture.hpp"

namespace vdpa::agent::engine {
namespace {

using nlohmann::json;
using schema::Reason;
using testing::HasSubstr;
using testing::SizeIs;

/* Which engines are driven, and with what arguments their DPDK starts. */
class ClientStartTest : public ClientTest {};

TEST_F(ClientStartTest, drives_an_engine_of_the_previous_and_of_a_later_minor_version) {
    engine_info.schema_minor = schema::schema_minor + 1;
    serve();
    client->set_start_params({});
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientStartTest, does_not_drive_an_engine_of_another_major_version) {
    engine_info.schema_major = schema::schema_major + 1;
    serve();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    EXPECT_EQ(listener.downs[0].reason, Reason::engine_incompatible);
    EXPECT_THAT(server->methods(), testing::Each("engine.info"));
}

TEST_F(ClientStartTest, drives_an_engine_that_was_replaced_by_a_compatible_one) {
    engine_info.schema_major = schema::schema_major + 1;
    serve();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    engine_info.schema_major = schema::schema_major;
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientStartTest, names_why_dpdk_does_not_run_until_the_engine_is_restarted) {
    engine_info.eal_state = schema::EalState::failed;
    engine_info.eal_detail = "no hugepages";
    serve();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return server->requests.size() >= 3; }));
    ASSERT_THAT(listener.downs, SizeIs(1));
    EXPECT_EQ(listener.downs[0].reason, Reason::eal_failed);
    EXPECT_THAT(listener.downs[0].detail, HasSubstr("no hugepages"));
    engine_info.eal_state = schema::EalState::started;
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientStartTest, says_that_dpdk_is_starting_while_it_is) {
    engine_info.eal_state = schema::EalState::unset;
    serve();
    std::optional<json> start;
    server->answer = [&](const json &request) -> std::optional<std::string> {
        if (request["method"] == "engine.start") {
            start = request;
            return std::nullopt;
        }
        return well_behaved(request);
    };
    client->set_start_params({});
    ASSERT_TRUE(until([&start] { return start.has_value(); }));
    ASSERT_THAT(listener.downs, SizeIs(1));
    EXPECT_EQ(listener.downs[0].reason, Reason::engine_starting);
    server->write(result_line(*start, {{"eal_state", "started"}, {"restart_pending", false}}));
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientStartTest, names_what_the_engine_has_against_its_arguments_and_goes_on_trying) {
    engine_info.eal_state = schema::EalState::unset;
    serve();
    server->answer = [this](const json &request) {
        return request["method"] == "engine.start" ? error_line(request, -32602, "workers: what?")
                                                   : well_behaved(request);
    };
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return server->requests.size() >= 8; }));
    ASSERT_THAT(listener.downs, SizeIs(2));
    EXPECT_THAT(listener.downs[1].detail, HasSubstr("workers: what?"));
    server->answer = [this](const json &request) { return well_behaved(request); };
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientStartTest, tells_when_the_arguments_in_use_are_others) {
    restart_pending = true;
    become_ready();
    EXPECT_EQ(listener.pending, true);
    restart_pending = false;
    client->set_start_params({.eal = {"-v"}, .workers = {}});
    EXPECT_TRUE(until([this] { return listener.pending == false; }));
    EXPECT_EQ(listener.ready, 1);
}

TEST_F(ClientStartTest, tells_of_arguments_that_were_changed_while_dpdk_was_starting) {
    serve();
    std::optional<json> start;
    server->answer = [&](const json &request) -> std::optional<std::string> {
        if (request["method"] == "engine.start" && !start) {
            start = request;
            return std::nullopt;
        }
        return well_behaved(request);
    };
    client->set_start_params({});
    ASSERT_TRUE(until([&start] { return start.has_value(); }));
    client->set_start_params({.eal = {"-v"}, .workers = {}});
    restart_pending = true;
    server->write(result_line(*start, {{"eal_state", "started"}, {"restart_pending", false}}));
    ASSERT_TRUE(until([this] { return listener.ready == 1; }));
    EXPECT_EQ(listener.pending, true);
}

TEST_F(ClientStartTest, does_not_ask_again_for_arguments_that_are_the_same) {
    become_ready();
    const size_t requests = server->requests.size();
    client->set_start_params({});
    io.poll();
    EXPECT_EQ(server->requests.size(), requests);
}

}  // namespace
}  // namespace vdpa::agent::engine
