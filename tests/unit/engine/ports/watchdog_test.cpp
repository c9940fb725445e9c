// SPDX-License-Identifier: Apache-2.0
#include "engine/watchdog.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/log.hpp"
#include "tests/unit/engine/temporary_folder.hpp"

namespace vdpa::engine {
namespace {

using std::chrono::seconds;

/* A watchdog with rounds of a second, that a test makes, and threads that it plays. */
class WatchdogTest : public testing::Test {
  protected:
    struct Thread {
        uint64_t beats = 0;
        int asked = 0;
        bool stands = false;
    };

    WatchdogTest() { EXPECT_TRUE(log::open_file(log_)); }

    void watch(Thread &thread, const char *name, seconds patience) {
        watchdog.watch({.thread = name,
                        .patience = patience,
                        .ask =
                            [&thread] {
                                ++thread.asked;
                                if (!thread.stands) {
                                    ++thread.beats;
                                }
                            },
                        .beats = [&thread] { return thread.beats; }});
    }
    void rounds(int count) {
        for (int n = 0; n < count; ++n) {
            watchdog.round();
        }
    }
    std::string logged() const {
        std::ifstream file(log_);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    test::TemporaryFolder folder_;
    const std::string log_ = folder_ / "log";
    boost::asio::io_context context;
    int fed = 0;
    Watchdog watchdog{context, seconds(1), [this] { ++fed; }};
    Thread one;
    Thread other;
};

TEST_F(WatchdogTest, IsFedWhileAllThreadsGoOn) {
    watch(one, "one", seconds(3));
    watch(other, "other", seconds(3));
    rounds(100);
    EXPECT_EQ(fed, 100);
    EXPECT_EQ(logged(), "");
}

TEST_F(WatchdogTest, IsNotFedWhileOneStandsStillForLongerThanItMay) {
    watch(one, "one", seconds(3));
    watch(other, "other", seconds(3));
    rounds(10);
    one.stands = true;
    rounds(4);
    EXPECT_EQ(fed, 14) << "three seconds are not over";
    rounds(10);
    EXPECT_LE(fed, 15);
    EXPECT_NE(logged().find("|watchdog|ERR|thread one has stood still for 4 s"), std::string::npos)
        << logged();
    EXPECT_EQ(logged().find("other"), std::string::npos);
    one.stands = false;
    ++one.beats;
    const int before = fed;
    rounds(10);
    EXPECT_EQ(fed, before + 10);
    EXPECT_NE(logged().find("|watchdog|WARN|thread one goes on"), std::string::npos) << logged();
}

TEST_F(WatchdogTest, SaysOnceThatAThreadStandsStill) {
    watch(one, "one", seconds(1));
    one.stands = true;
    rounds(50);
    const std::string text = logged();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_F(WatchdogTest, WhoIsSlowButGoesOnIsGivenTime) {
    watch(one, "one", seconds(3));
    one.stands = true;
    for (int n = 0; n < 20; ++n) {
        rounds(3);
        ++one.beats;  // unasked
    }
    EXPECT_EQ(fed, 60);
    EXPECT_EQ(logged(), "");
}

TEST_F(WatchdogTest, DoesNotAskAgainWhoHasNotAnswered) {
    watch(one, "one", seconds(3));
    one.stands = true;
    rounds(50);
    EXPECT_EQ(one.asked, 1);
}

TEST_F(WatchdogTest, EachThreadHasItsOwnPatience) {
    watch(one, "one", seconds(1));
    watch(other, "other", seconds(40));
    other.stands = true;
    rounds(40);
    EXPECT_EQ(fed, 40);
    rounds(10);
    EXPECT_LT(fed, 50);
}

TEST_F(WatchdogTest, RunsByItself) {
    Watchdog quick(context, std::chrono::milliseconds(1), [this] {
        if (++fed == 5) {
            context.stop();
        }
    });
    quick.start();
    EXPECT_EQ(fed, 1) << "at once";
    context.run_for(seconds(10));
    EXPECT_EQ(fed, 5);
}

}  // namespace
}  // namespace vdpa::engine
