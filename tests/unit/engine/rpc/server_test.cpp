// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "engine/log.hpp"
#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::rpc {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr std::chrono::seconds bound{10};

/* Answers engine.info at once, keeps the replies of engine.start, and answers port.list with as
 * much as it may hold. */
class FakeMethods : public schema::EngineMethods {
  public:
    void engine_info(Reply<schema::EngineInfo> reply) override {
        ++infos;
        schema::EngineInfo info;
        info.version = "fake";
        reply(info);
    }
    void engine_start(const schema::EngineStartParams &,
                      Reply<schema::EngineStartResult> reply) override {
        started.push_back(std::move(reply));
        ++starts;
    }
    void port_apply(const schema::PortSpec &, Reply<schema::PortApplyResult> reply) override {
        reply(
            tl::make_unexpected(schema::RpcFailure{schema::RpcError::not_started, "not started"}));
    }
    void port_remove(const schema::PortRemoveParams &,
                     Reply<schema::PortRemoveResult> reply) override {
        reply(schema::PortRemoveResult{});
    }
    void port_list(Reply<schema::PortList> reply) override {
        schema::PortStatus status;
        status.name = "p";
        status.spec.name = "p";
        status.detail = std::string(4096, 'd');
        reply(schema::PortList{.ports = std::vector<schema::PortStatus>(50, status)});
    }
    void port_stats(const schema::PortName &, Reply<schema::PortStats> reply) override {
        reply(schema::PortStats{});
    }
    void port_reset_stats(const schema::PortName &, Reply<schema::Empty> reply) override {
        reply(schema::Empty{});
    }

    std::vector<Reply<schema::EngineStartResult>> started;
    std::atomic<int> starts{0};
    std::atomic<int> infos{0};
};

/* A blocking client whose every wait has a bound. */
class Client {
  public:
    explicit Client(const std::string &path) : fd_(test::connect_unix(path)) {}

    /* False: the other side closed, or takes nothing more for `patience`. */
    bool send(std::string_view data, std::chrono::milliseconds patience = bound) {
        while (!data.empty()) {
            pollfd entry{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
            if (::poll(&entry, 1, static_cast<int>(patience.count())) <= 0) {
                return false;
            }
            const ssize_t sent =
                ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0 && errno != EAGAIN) {
                return false;
            }
            data.remove_prefix(sent > 0 ? static_cast<size_t>(sent) : 0);
        }
        return true;
    }
    /* The next message; null at the end of the stream or of our patience. */
    json receive() {
        while (buffer_.find('\n') == std::string::npos) {
            if (!fill()) {
                return nullptr;
            }
        }
        const size_t newline = buffer_.find('\n');
        const std::string line = buffer_.substr(0, newline);
        buffer_.erase(0, newline + 1);
        return json::parse(line, nullptr, false);
    }
    /* Whether the other side closes within the bound. */
    bool closed_by_peer() {
        while (fill()) {
        }
        return at_end_;
    }
    json call(const std::string &method, const json &id = 1) {
        send(json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}}.dump() + "\n");
        return receive();
    }
    void close() { fd_.reset(); }

  private:
    bool fill() {
        pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        if (::poll(&entry, 1, std::chrono::milliseconds(bound).count()) <= 0) {
            return false;
        }
        std::array<char, 65536> data{};
        const ssize_t got = ::recv(fd_.get(), data.data(), data.size(), 0);
        at_end_ = got <= 0;
        buffer_.append(data.data(), got > 0 ? static_cast<size_t>(got) : 0);
        return !at_end_;
    }

    UniqueFd fd_;
    std::string buffer_;
    bool at_end_ = false;
};

class ServerTest : public testing::Test {
  protected:
    template <typename Function>
    auto on_server_thread(Function function) {
        std::packaged_task<decltype(function())()> task(std::move(function));
        auto result = task.get_future();
        boost::asio::post(context_, [&task] { task(); });
        return result.get();
    }
    ServerTest() { log::set_level(log::Level::emer); }
    ~ServerTest() override {
        if (thread_.joinable()) {
            on_server_thread([this] { server_.reset(); });
            work_.reset();
            thread_.join();
        }
        log::set_level(log::Level::info);
    }

    void start(Limits limits = {}, Server::PeerUser peer_user = Server::socket_peer_user) {
        auto listener = Listener::open(path());
        ASSERT_TRUE(listener.has_value()) << listener.error().detail;
        server_.emplace(context_, std::move(*listener), methods_, limits, std::move(peer_user));
        thread_ = std::thread([this] { context_.run(); });
    }
    std::string path() const { return folder_ / "rpc"; }

    template <typename Condition>
    bool eventually(Condition condition) {
        const auto end = steady_clock::now() + bound;
        while (!on_server_thread(condition)) {
            if (steady_clock::now() > end) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }
    bool eventually_connected(size_t count) {
        return eventually([this, count] { return server_->connections() == count; });
    }

    test::TemporaryFolder folder_;
    FakeMethods methods_;
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
        context_.get_executor()};
    std::optional<Server> server_;
    std::thread thread_;
};

TEST_F(ServerTest, AnswersWithTheResultAndTheId) {
    start();
    Client client(path());
    const json answer = client.call("engine.info", "an-id");
    EXPECT_EQ(answer["id"], "an-id");
    EXPECT_EQ(answer["jsonrpc"], "2.0");
    EXPECT_EQ(answer["result"]["version"], "fake");
}

TEST_F(ServerTest, AnswersAnUnknownMethodWithMethodNotFound) {
    start();
    EXPECT_EQ(Client(path()).call("no.such")["error"]["code"], -32601);
}

TEST_F(ServerTest, AnswersGarbageWithParseErrorAndGoesOn) {
    start();
    Client client(path());
    client.send("garbage\n");
    EXPECT_EQ(client.receive()["error"]["code"], -32700);
    EXPECT_EQ(client.call("engine.info")["result"]["version"], "fake");
}

TEST_F(ServerTest, CarriesOutANotificationWithoutAnAnswer) {
    start();
    Client client(path());
    client.send(R"({"jsonrpc":"2.0","method":"engine.info"})"
                "\n");
    EXPECT_EQ(client.call("port.remove", 2)["id"], 2);
    EXPECT_EQ(methods_.infos, 1);
}

TEST_F(ServerTest, PutsARequestTogetherThatComesByteByByte) {
    start();
    Client client(path());
    for (const char c : std::string(R"({"jsonrpc":"2.0","id":5,"method":"engine.info"})"
                                    "\n")) {
        ASSERT_TRUE(client.send({&c, 1}));
    }
    EXPECT_EQ(client.receive()["id"], 5);
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
    start();
    Client client(path());
    std::string requests;
    for (int id = 0; id < 500; ++id) {
        requests += json{{"jsonrpc", "2.0"}, {"id", id}, {"method", "engine.info"}}.dump() + "\n";
    }
    ASSERT_TRUE(client.send(requests));
    for (int id = 0; id < 500; ++id) {
        ASSERT_EQ(client.receive()["id"], id);
    }
}

TEST_F(ServerTest, DisconnectsAPeerWhoseLineIsTooLongAfterTellingIt) {
    start();
    Client client(path());
    client.send(std::string(schema::max_message_bytes + 1, 'x'));
    EXPECT_EQ(client.receive()["error"]["code"], -32600);
    EXPECT_TRUE(client.closed_by_peer());
}

TEST_F(ServerTest, TakesNoMoreRequestsThanItMayOweAnswers) {
    start({.unanswered = 3});
    Client client(path());
    const std::string request =
        R"({"jsonrpc":"2.0","id":1,"method":"engine.start","params":{"eal":[]}})"
        "\n";
    std::string requests;
    for (int i = 0; i < 5; ++i) {
        requests += request;
    }
    client.send(requests);
    ASSERT_TRUE(eventually([this] { return methods_.starts == 3; }));
    // One is answered, one more is taken: there is no other way to a fourth.
    on_server_thread([this] { methods_.started[0](schema::EngineStartResult{}); });
    EXPECT_EQ(client.receive()["id"], 1);
    EXPECT_EQ(methods_.starts, 4);
}

TEST_F(ServerTest, AnAnswerForAPeerThatIsGoneHurtsNobody) {
    start();
    Client client(path());
    client.send(R"({"jsonrpc":"2.0","id":1,"method":"engine.start","params":{"eal":[]}})"
                "\n");
    ASSERT_TRUE(eventually([this] { return methods_.starts == 1; }));
    client.close();
    ASSERT_TRUE(eventually_connected(0));
    on_server_thread([this] { methods_.started[0](schema::EngineStartResult{}); });
    EXPECT_EQ(Client(path()).call("engine.info")["result"]["version"], "fake");
}

TEST_F(ServerTest, DisconnectsAPeerThatDoesNotRead) {
    start({.output_bytes = 1 << 20});
    Client client(path());
    Client other(path());
    const std::string request = R"({"jsonrpc":"2.0","id":1,"method":"port.list"})"
                                "\n";
    bool refused = false;
    for (int i = 0; i < 10000 && !refused; ++i) {
        refused = !client.send(request);
    }
    EXPECT_TRUE(refused);
    EXPECT_EQ(other.call("engine.info")["result"]["version"], "fake");
}

TEST_F(ServerTest, RefusesConnectionsBeyondTheLimitUntilOneEnds) {
    start({.connections = 2});
    Client first(path());
    Client second(path());
    ASSERT_TRUE(eventually_connected(2));
    EXPECT_TRUE(Client(path()).closed_by_peer());
    EXPECT_EQ(second.call("engine.info")["result"]["version"], "fake");
    first.close();
    ASSERT_TRUE(eventually_connected(1));
    EXPECT_EQ(Client(path()).call("engine.info")["result"]["version"], "fake");
}

TEST_F(ServerTest, RefusesOtherUsers) {
    std::atomic<uid_t> user = ::geteuid() + 1;
    start({}, [&user](int) { return std::optional<uid_t>(user); });
    EXPECT_TRUE(Client(path()).closed_by_peer());
    user = 0;
    EXPECT_EQ(Client(path()).call("engine.info")["result"]["version"], "fake");
    user = ::geteuid();
    EXPECT_EQ(Client(path()).call("engine.info")["result"]["version"], "fake");
}

TEST_F(ServerTest, RefusesAPeerThatTheKernelDoesNotName) {
    start({}, [](int) { return std::nullopt; });
    EXPECT_TRUE(Client(path()).closed_by_peer());
}

TEST_F(ServerTest, NotifiesEveryConnection) {
    start();
    Client first(path());
    Client second(path());
    ASSERT_TRUE(eventually_connected(2));
    on_server_thread([this] { server_->notify("port.changed", {{"name", "vm1"}}); });
    for (Client *client : {&first, &second}) {
        const json message = client->receive();
        EXPECT_EQ(message["method"], "port.changed");
        EXPECT_EQ(message["params"]["name"], "vm1");
        EXPECT_FALSE(message.contains("id"));
    }
}

TEST_F(ServerTest, SurvivesAThousandConnections) {
    start();
    for (int i = 0; i < 1000; ++i) {
        Client client(path());
        client.send("half a mess");
    }
    ASSERT_TRUE(eventually_connected(0));
    EXPECT_EQ(Client(path()).call("engine.info")["result"]["version"], "fake");
}

}  // namespace
}  // namespace vdpa::engine::rpc
