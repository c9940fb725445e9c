// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/event_thread.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <rte_log.h>
#include <rte_vhost.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/log.hpp"
#include "tests/unit/engine/start_dpdk.hpp"
#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::vhost {
namespace {

using test::bind_unix;
using test::connect_unix;
using test::TemporaryFolder;

/* The library's thread, when nobody wakes it, comes round a second after it went to sleep, so of
 * ten attempts that each begin when it sleeps, and wait for a fifth of a second, two at most
 * succeed by luck. A busy machine may keep any thread waiting for longer than that, but not most
 * times; so what is asked for is an answer soon, most times. */
constexpr int soon_ms = 200;
constexpr int attempts = 10;
constexpr int most = 7;

const rte_vhost_device_ops no_callbacks{};

bool readable(const UniqueFd &fd, int timeout_ms) {
    pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, timeout_ms) == 1;
}

/* A server socket of the library. */
class Server {
  public:
    explicit Server(std::string path) : path_(std::move(path)) {
        EXPECT_EQ(rte_vhost_driver_register(path_.c_str(), 0), 0);
        EXPECT_EQ(rte_vhost_driver_callback_register(path_.c_str(), &no_callbacks), 0);
        EXPECT_EQ(rte_vhost_driver_start(path_.c_str()), 0);
    }
    ~Server() { end(); }
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;

    void end() {
        if (!path_.empty()) {
            EXPECT_EQ(rte_vhost_driver_unregister(path_.c_str()), 0);
            path_.clear();
        }
    }

  private:
    std::string path_;
};

/* A front-end that has asked for the features. */
UniqueFd ask(const std::string &path) {
    UniqueFd fd = connect_unix(path);
    EXPECT_TRUE(fd);
    constexpr std::array<uint32_t, 3> get_features = {1, 1, 0};
    EXPECT_EQ(::send(fd.get(), get_features.data(), sizeof(get_features), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(get_features)));
    return fd;
}

bool answered(const UniqueFd &fd, int timeout_ms) {
    std::array<std::byte, 20> reply{};
    return readable(fd, timeout_ms) &&
           ::recv(fd.get(), reply.data(), reply.size(), MSG_WAITALL) == ssize_t{reply.size()};
}

bool at_end(const UniqueFd &fd, int timeout_ms) {
    std::byte byte{};
    return readable(fd, timeout_ms) && ::recv(fd.get(), &byte, 1, 0) <= 0;
}

std::vector<std::string> names_in(const std::string &folder) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        names.push_back(entry.path().filename().string());
    }
    return names;
}

/* Waits until the library's thread is in its poll(). */
void wait_until_asleep() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (std::chrono::steady_clock::now() < end) {
        for (const std::string &task : names_in("/proc/self/task")) {
            const std::string folder = "/proc/self/task/" + task;
            std::string name;
            std::getline(std::ifstream(folder + "/comm") >> std::ws, name);
            std::string stat;
            std::getline(std::ifstream(folder + "/stat") >> std::ws, stat);
            if (name == "vhost-events" && stat.find(") S ") != std::string::npos) {
                return;
            }
        }
        std::this_thread::yield();
    }
    ADD_FAILURE() << "no thread called vhost-events went to sleep";
}

int count_of(const std::function<bool(int)> &attempt) {
    int good = 0;
    for (int number = 0; number < attempts; ++number) {
        wait_until_asleep();
        good += attempt(number) ? 1 : 0;
    }
    return good;
}

size_t open_files() {
    return names_in("/proc/self/fd").size();
}

class EventThreadTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(test::start_dpdk()); }

    TemporaryFolder folder_;
};

TEST_F(EventThreadTest, ANewSocketAnswersAtOnce) {
    const EventThread thread(folder_ / "rpc.sock");
    const int soon = count_of([&](int number) {
        const std::string path = folder_ / std::to_string(number);
        const Server server(path);
        thread.wake();
        return answered(ask(path), soon_ms);
    });
    EXPECT_GE(soon, most) << "of " << attempts;
}

TEST_F(EventThreadTest, TheLastOfManyNewSocketsAnswersAtOnce) {
    const EventThread thread(folder_ / "rpc.sock");
    const int soon = count_of([&](int number) {
        std::vector<std::unique_ptr<Server>> servers;
        std::string path;
        for (int i = 0; i < 40; ++i) {
            path = folder_ / (std::to_string(number) + "." + std::to_string(i));
            servers.push_back(std::make_unique<Server>(path));
            thread.wake();
        }
        return answered(ask(path), soon_ms);
    });
    EXPECT_GE(soon, most) << "of " << attempts;
}

TEST_F(EventThreadTest, AFrontEndOfASocketThatEndedIsDisconnectedAtOnce) {
    const EventThread thread(folder_ / "rpc.sock");
    const int soon = count_of([&](int number) {
        const std::string path = folder_ / std::to_string(number);
        Server server(path);
        thread.wake();
        const UniqueFd front_end = ask(path);
        EXPECT_TRUE(answered(front_end, 5000));
        wait_until_asleep();
        server.end();
        thread.wake();
        return at_end(front_end, soon_ms);
    });
    EXPECT_GE(soon, most) << "of " << attempts;
}

TEST_F(EventThreadTest, MoreWakeUpsThanTheSocketHoldsDoNotBlock) {
    const EventThread thread(folder_ / "rpc.sock");
    for (int i = 0; i < 100000; ++i) {
        thread.wake();
    }
    const Server server(folder_ / "s");
    thread.wake();
    EXPECT_TRUE(answered(ask(folder_ / "s"), 5000));
}

TEST_F(EventThreadTest, PostedWorkRunsAtOnceInOrderAndThere) {
    EventThread thread(folder_ / "rpc.sock");
    const int soon = count_of([&](int) {
        std::promise<std::string> ran;
        std::string order;
        EXPECT_TRUE(thread.post([&] { order += "a"; }));
        EXPECT_TRUE(thread.post([&] {
            std::array<char, 16> name{};
            ::pthread_getname_np(::pthread_self(), name.data(), name.size());
            ran.set_value(order + " " + name.data());
        }));
        auto future = ran.get_future();
        const bool in_time =
            future.wait_for(std::chrono::milliseconds(soon_ms)) == std::future_status::ready;
        EXPECT_EQ(future.get(), "a vhost-events");
        return in_time;
    });
    EXPECT_GE(soon, most) << "of " << attempts;
}

TEST_F(EventThreadTest, WorkPostedAmongMoreWakeUpsThanTheSocketHoldsIsRun) {
    EventThread thread(folder_ / "rpc.sock");
    std::atomic<int> ran{0};
    std::promise<void> last;
    constexpr int count = 20000;
    for (int i = 0; i < count; ++i) {
        thread.wake();
        ASSERT_TRUE(thread.post([&] {
            if (++ran == count) {
                last.set_value();
            }
        }));
    }
    EXPECT_EQ(last.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
    EXPECT_EQ(ran, count);
}

TEST_F(EventThreadTest, LeavesNothingBehind) {
    const std::string path = folder_ / "rpc.sock";
    { const EventThread first(path); }  // the library's own thread comes with it
    const size_t files = open_files();
    for (int i = 0; i < 1100; ++i) {  // more than the library has numbers for connections
        const EventThread thread(path);
        ASSERT_EQ(open_files(), files + 2) << "both ends of one connection, no listener";
        ASSERT_TRUE(names_in(folder_.path()).empty());
    }
    EXPECT_EQ(open_files(), files);
}

TEST_F(EventThreadTest, RemovesWhatAKilledEngineLeft) {
    const std::string left = folder_ / ".rpc.sock.vdpa";
    ASSERT_EQ(::mkdir(left.c_str(), 0700), 0);
    bind_unix(left + "/rpc.sock.1", true).reset();
    const EventThread thread(folder_ / "rpc.sock");
    EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(EventThreadTest, WithoutAConnectionTheLogSaysSoAndSocketsAnswerAllTheSame) {
    const std::string log = folder_ / "log";
    ASSERT_TRUE(log::open_file(log));
    EventThread thread(folder_ / "missing/rpc.sock");
    const Server server(folder_ / "s");
    thread.wake();
    EXPECT_FALSE(thread.post([] { ADD_FAILURE(); }));
    EXPECT_TRUE(answered(ask(folder_ / "s"), 5000));
    std::ifstream file(log);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_NE(text.find("|vhost|WARN|no connection to the vhost library's event thread"),
              std::string::npos)
        << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

}  // namespace
}  // namespace vdpa::engine::vhost
