// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/engine/client.hpp"
#include "tests/unit/agent/engine/fake_server.hpp"
#include "tests/unit/agent/event_loop.hpp"

namespace vdpa::agent::engine {

/* What a client tells, kept. */
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

/* A client of a server that answers as an engine does, unless a test has it answer otherwise. */
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
        server->answer = [this](const nlohmann::json &request) { return well_behaved(request); };
    }
    /* As an engine answers. */
    std::optional<std::string> well_behaved(const nlohmann::json &request) {
        const std::string method = request["method"];
        if (method == "engine.info") {
            return result_line(request, encode(engine_info));
        }
        if (method == "engine.start") {
            return result_line(request,
                               {{"eal_state", "started"}, {"restart_pending", restart_pending}});
        }
        if (method == "port.list") {
            return result_line(request,
                               {{"ports", nlohmann::json::array({encode(status_of("vm1"))})}});
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
        return run_until(io, condition);
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

}  // namespace vdpa::agent::engine
