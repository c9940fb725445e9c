// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/background_reads.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/unit/agent/event_loop.hpp"

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;

class BackgroundReadsTest : public testing::Test {
  protected:
    /* A read that lasts until then. */
    BackgroundReads::Read waiting(const std::string &name,
                                  const std::shared_future<void> &until_then) {
        return [this, name, until_then] {
            started++;
            until_then.wait();
            return [this, name] { heard.push_back(name); };
        };
    }
    BackgroundReads::Read quick(const std::string &name) {
        return [this, name] {
            started++;
            return [this, name] { heard.push_back(name); };
        };
    }
    std::function<void()> done(const std::string &name) {
        return [this, name] { heard.push_back(name); };
    }
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }

    boost::asio::io_context io;
    std::vector<std::string> heard;
    std::atomic<int> started = 0;
    std::promise<void> gate;
    std::shared_future<void> opened{gate.get_future()};
};

TEST_F(BackgroundReadsTest, answers_on_the_control_thread) {
    BackgroundReads reads(io);
    std::thread::id reader;
    std::thread::id answerer;
    bool is_done = false;
    reads.run(
        "a",
        [&] {
            reader = std::this_thread::get_id();
            return [&] { answerer = std::this_thread::get_id(); };
        },
        [&] { is_done = true; });
    ASSERT_TRUE(until([&] { return is_done; }));
    EXPECT_NE(reader, std::this_thread::get_id());
    EXPECT_EQ(answerer, std::this_thread::get_id());
}

TEST_F(BackgroundReadsTest, are_not_held_up_by_one_that_waits) {
    BackgroundReads reads(io);
    reads.run("slow", waiting("slow", opened));
    for (int i = 0; i < 20; i++) {
        const std::string name = "quick" + std::to_string(i);
        reads.run(name, quick(name));
    }
    ASSERT_TRUE(until([this] { return heard.size() == 20; }));
    gate.set_value();
    ASSERT_TRUE(until([this] { return heard.size() == 21; }));
    EXPECT_EQ(heard.back(), "slow");
}

TEST_F(BackgroundReadsTest, that_are_asked_for_meanwhile_are_one) {
    BackgroundReads reads(io);
    reads.run("a", waiting("first", opened), done("first is done"));
    ASSERT_TRUE(until([this] { return started == 1; }));
    for (int i = 0; i < 100; i++) {
        reads.run("a", quick("second"), i % 50 == 0 ? done("second is done") : nullptr);
    }
    gate.set_value();
    ASSERT_TRUE(until([this] { return heard.size() == 5; }));
    EXPECT_THAT(
        heard, ElementsAre("first", "first is done", "second", "second is done", "second is done"));
    EXPECT_EQ(started, 2);
}

TEST_F(BackgroundReadsTest, may_be_asked_for_by_an_answer) {
    BackgroundReads reads(io);
    reads.run("a", quick("first"), [&] { reads.run("a", quick("second")); });
    ASSERT_TRUE(until([this] { return heard.size() == 2; }));
    EXPECT_THAT(heard, ElementsAre("first", "second"));
}

TEST_F(BackgroundReadsTest, leave_time_for_others) {
    BackgroundReads reads(io);
    const auto busy = [this] {
        started++;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
        while (std::chrono::steady_clock::now() < end) {
        }
        return [this] { heard.emplace_back("busy"); };
    };
    const auto begin = std::chrono::steady_clock::now();
    reads.run("a", busy);
    for (size_t i = 1; i <= 3; i++) {
        ASSERT_TRUE(until([&] { return heard.size() == i; }));
        reads.run("a", busy);
    }
    ASSERT_TRUE(until([&] { return heard.size() == 4; }));
    // A third of the nominal pauses, for where the processor time is less than the time.
    EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(80));
}

TEST_F(BackgroundReadsTest, take_no_more_threads_than_they_may) {
    BackgroundReads reads(io, 2);
    std::promise<void> other_gate;
    reads.run("a", waiting("a", opened));
    reads.run("b", waiting("b", other_gate.get_future().share()));
    ASSERT_TRUE(until([this] { return started == 2; }));
    reads.run("c", quick("c"));
    reads.run("d", quick("d"));
    EXPECT_EQ(io.poll(), 0U);
    EXPECT_EQ(started, 2);
    other_gate.set_value();
    ASSERT_TRUE(until([this] { return heard.size() == 3; }));
    EXPECT_THAT(heard, ElementsAre("b", "c", "d"));
    gate.set_value();
    ASSERT_TRUE(until([this] { return heard.size() == 4; }));
}

TEST_F(BackgroundReadsTest, forget_what_nothing_is_asked_of) {
    BackgroundReads reads(io);
    for (int i = 0; i < 20; i++) {
        reads.run(std::to_string(i), quick("a"));
    }
    EXPECT_EQ(reads.keys(), 20U);
    EXPECT_TRUE(until([&] { return reads.keys() == 0; }));
    EXPECT_EQ(heard.size(), 20U);
}

/* In a process of its own, which is the only one of its user: root may have any number of threads.
 */
TEST_F(BackgroundReadsTest, never_take_the_control_thread_and_are_made_up_for) {
    const auto act = [this] {
        constexpr uid_t lonely = 3'111'222;
        const rlimit none{0, 1000};
        if ((::getuid() == 0 && ::setuid(lonely) != 0) || ::setrlimit(RLIMIT_NPROC, &none) != 0) {
            ::_exit(2);
        }
        BackgroundReads reads(io);
        std::thread::id reader;
        reads.run("a", [&] {
            reader = std::this_thread::get_id();
            return [this] { heard.emplace_back("a"); };
        });
        if (reader != std::thread::id()) {
            ::_exit(3);
        }
        const rlimit some{1000, 1000};
        ::setrlimit(RLIMIT_NPROC, &some);
        ::_exit(until([this] { return !heard.empty(); }) ? 0 : 4);
    };
    EXPECT_EXIT(act(), testing::ExitedWithCode(0), "");
}

TEST_F(BackgroundReadsTest, are_dropped_with_their_owner) {
    {
        BackgroundReads reads(io);
        reads.run("a", waiting("a", opened), done("a is done"));
        reads.run("b", waiting("b", opened), done("b is done"));
        reads.run("b", quick("more of b"), done("more of b is done"));
        ASSERT_TRUE(until([this] { return started == 2; }));
    }
    gate.set_value();
    BackgroundReads others(io);
    others.run("a", quick("another"));
    ASSERT_TRUE(until([this] { return !heard.empty(); }));
    EXPECT_THAT(heard, ElementsAre("another"));
}

}  // namespace
}  // namespace vdpa::agent::host
