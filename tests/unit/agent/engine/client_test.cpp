// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/engine/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "tests/unit/agent/engine/fake_server.hpp"

namespace vdpa::agent::engine {
namespace {

using nlohmann::json;
using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::chrono::seconds longest_wait{10};
/* Under a line's limit by the envelope. */
constexpr size_t filling = 1'000'000;

class Listener : public EngineListener {
  public:
    void engine_ready(size_t index, const schema::EngineInfo &engine,
                      std::vector<schema::PortStatus> list) override {
        EXPECT_EQ(index, 3U);
        ready++;
        info = engine;
        ports = std::move(list);
    }
    void engine_down(size_t index, const Error &why) override {
        EXPECT_EQ(index, 3U);
        downs.push_back(why);
    }
    void port_changed(size_t index, const schema::PortStatus &status) override {
        EXPECT_EQ(index, 3U);
        changes.push_back(status);
    }
    void restart_pending(size_t index, bool is_pending) override {
        EXPECT_EQ(index, 3U);
        pending = is_pending;
    }

    int ready = 0;
    schema::EngineInfo info;
    std::vector<schema::PortStatus> ports;
    std::vector<Error> downs;
    std::vector<schema::PortStatus> changes;
    std::optional<bool> pending;
};

class ClientTest : public testing::Test {
  protected:
    ClientTest() {
        char folder[] = "/tmp/engine-client.XXXXXX";
        folder_ = ::mkdtemp(folder);
        path = folder_ + "/rpc.sock";
        client = std::make_unique<Client>(io, 3, path, listener);
    }
    ~ClientTest() override {
        client.reset();
        server.reset();
        std::filesystem::remove_all(folder_);
    }

    void serve() {
        server = std::make_unique<FakeServer>(io, path);
        server->answer = [this](const json &request) { return well_behaved(request); };
    }
    /* As an engine answers. */
    std::optional<std::string> well_behaved(const json &request) {
        const std::string method = request["method"];
        if (method == "engine.info") {
            return result_line(request, encode(engine_info));
        }
        if (method == "engine.start") {
            return result_line(request,
                               {{"eal_state", "started"}, {"restart_pending", restart_pending}});
        }
        if (method == "port.list") {
            return result_line(request, {{"ports", json::array({encode(status_of("vm1"))})}});
        }
        if (method == "port.apply") {
            return result_line(request, {{"generation", 5}, {"changed", true}});
        }
        if (method == "port.remove") {
            return result_line(request, {{"existed", true}});
        }
        return result_line(request, {{"name", request["params"]["name"]},
                                     {"queues", {{{"index", 0}, {"counters", {{"packets", 2}}}}}}});
    }
    static schema::PortStatus status_of(const std::string &name) {
        schema::PortStatus status;
        status.name = name;
        status.generation = 1;
        status.state = schema::PortState::listening;
        status.spec.name = name;
        status.spec.socket.path = "/run/" + name;
        status.spec.device.name = name;
        status.spec.max_queues = 1;
        return status;
    }
    testing::AssertionResult until(const std::function<bool()> &condition) {
        const auto end = std::chrono::steady_clock::now() + longest_wait;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) {
                return testing::AssertionFailure() << "has not come about";
            }
            io.restart();
            io.run_one_for(std::chrono::milliseconds(100));
        }
        return testing::AssertionSuccess();
    }
    void become_ready() {
        serve();
        client->set_start_params({});
        ASSERT_TRUE(until([this] { return listener.ready == 1; }));
    }
    /* The answer to port.apply, when it has come. */
    std::optional<Expected<schema::PortApplyResult>> apply_and_wait() {
        std::optional<Expected<schema::PortApplyResult>> answer;
        client->apply(status_of("vm1").spec, [&answer](const auto &result) { answer = result; });
        EXPECT_FALSE(answer) << "answered within the call";
        EXPECT_TRUE(until([&answer] { return answer.has_value(); }));
        return answer;
    }

    boost::asio::io_context io;
    Listener listener;
    std::string path;
    schema::EngineInfo engine_info{.schema_major = schema::schema_major,
                                   .schema_minor = schema::schema_minor,
                                   .version = "1.2",
                                   .instance = "i",
                                   .pid = 42,
                                   .uid = 7,
                                   .eal_state = schema::EalState::started,
                                   .eal_args = {},
                                   .eal_detail = {},
                                   .ports = 1,
                                   .max_ports = 500};
    bool restart_pending = false;
    std::unique_ptr<FakeServer> server;
    std::unique_ptr<Client> client;

  private:
    std::string folder_;
};

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

TEST_F(ClientTest, puts_lines_together_that_come_in_pieces) {
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

TEST_F(ClientTest, takes_several_lines_that_come_at_once) {
    become_ready();
    std::string lines;
    for (int i = 0; i < 50; i++) {
        lines += notification_line("port.changed", encode(status_of("vm" + std::to_string(i))));
    }
    server->write("\n" + lines);
    EXPECT_TRUE(until([this] { return listener.changes.size() == 50; }));
    EXPECT_EQ(listener.changes[49].name, "vm49");
}

TEST_F(ClientTest, takes_answers_in_whatever_order_they_come) {
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

TEST_F(ClientTest, hands_an_error_of_the_engine_over_with_its_words) {
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

TEST_F(ClientTest, takes_errors_of_any_shape) {
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

TEST_F(ClientTest, calls_an_answer_incompatible_that_is_not_as_the_schema_says) {
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

TEST_F(ClientTest, passes_over_fields_that_it_does_not_know) {
    become_ready();
    server->answer = [](const json &request) {
        return result_line(request, {{"generation", 9}, {"changed", true}, {"novelty", {1, 2}}});
    };
    EXPECT_EQ((*apply_and_wait())->generation, 9U);
}

TEST_F(ClientTest, passes_over_answers_to_nothing_and_notifications_it_does_not_know) {
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

TEST_F(ClientTest, ends_a_connection_whose_line_never_ends) {
    become_ready();
    server->write(std::string(schema::max_message_bytes + 1, 'x'));
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    EXPECT_THAT(listener.downs[0].detail, HasSubstr("longer than 4 MiB"));
    EXPECT_TRUE(until([this] { return listener.ready == 2; }));
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

TEST_F(ClientTest, drives_an_engine_of_the_previous_and_of_a_later_minor_version) {
    engine_info.schema_minor = schema::schema_minor + 1;
    serve();
    client->set_start_params({});
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientTest, does_not_drive_an_engine_of_another_major_version) {
    engine_info.schema_major = schema::schema_major + 1;
    serve();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    EXPECT_EQ(listener.downs[0].reason, Reason::engine_incompatible);
    EXPECT_THAT(server->methods(), testing::Each("engine.info"));
}

TEST_F(ClientTest, drives_an_engine_that_was_replaced_by_a_compatible_one) {
    engine_info.schema_major = schema::schema_major + 1;
    serve();
    client->set_start_params({});
    ASSERT_TRUE(until([this] { return !listener.downs.empty(); }));
    engine_info.schema_major = schema::schema_major;
    EXPECT_TRUE(until([this] { return listener.ready == 1; }));
}

TEST_F(ClientTest, names_why_dpdk_does_not_run_until_the_engine_is_restarted) {
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

TEST_F(ClientTest, says_that_dpdk_is_starting_while_it_is) {
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

TEST_F(ClientTest, names_what_the_engine_has_against_its_arguments_and_goes_on_trying) {
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

TEST_F(ClientTest, tells_when_the_arguments_in_use_are_others) {
    restart_pending = true;
    become_ready();
    EXPECT_EQ(listener.pending, true);
    restart_pending = false;
    client->set_start_params({.eal = {"-v"}, .workers = {}});
    EXPECT_TRUE(until([this] { return listener.pending == false; }));
    EXPECT_EQ(listener.ready, 1);
}

TEST_F(ClientTest, tells_of_arguments_that_were_changed_while_dpdk_was_starting) {
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

TEST_F(ClientTest, does_not_ask_again_for_arguments_that_are_the_same) {
    become_ready();
    const size_t requests = server->requests.size();
    client->set_start_params({});
    io.poll();
    EXPECT_EQ(server->requests.size(), requests);
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

TEST_F(ClientTest, takes_a_list_that_fills_a_message) {
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
