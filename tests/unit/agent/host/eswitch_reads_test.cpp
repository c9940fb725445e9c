// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/eswitch_reads.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <memory>

#include "tests/unit/agent/event_loop.hpp"

namespace vdpa::agent::host {
namespace {

using testing::Each;

const Handle pf{"pci", "0000:43:00.0"};

/* A device whose eswitch cannot be read the first times that it is asked. */
class EswitchReadsTest : public testing::Test {
  protected:
    NetResult<Pf::Eswitch> ask() {
        if (asked++ < failures) {
            return tl::make_unexpected(NetlinkError{ENOMEM, "Cannot allocate memory"});
        }
        return Pf::Eswitch::switchdev;
    }
    bool take(const NetResult<Pf::Eswitch> &answer) {
        answers.push_back(answer ? "switchdev" : answer.error().detail);
        return is_there;
    }
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }

    /* No timer is set any more, after the pause that each read is followed by. */
    bool is_idle() {
        io.restart();
        io.run_for(std::chrono::seconds(20));
        return io.stopped();
    }

    std::atomic<int> asked = 0;
    int failures = 0;
    bool is_there = true;
    std::vector<std::string> answers;
    boost::asio::io_context io;
    BackgroundReads background{io};
    EswitchReads make(std::chrono::milliseconds first, std::chrono::milliseconds last) {
        return {io, background,
                [this](const Handle &device, const auto &answer) {
                    EXPECT_EQ(device, pf);
                    return take(answer);
                },
                [this](const Handle & /*device*/) { return ask(); }, RetryIntervals{first, last}};
    }
    EswitchReads reads = make(std::chrono::milliseconds(1), std::chrono::milliseconds(8));
    EswitchReads seldom = make(std::chrono::hours(1), std::chrono::hours(1));
};

TEST_F(EswitchReadsTest, ask_once_what_is_answered) {
    bool is_done = false;
    reads.read(pf, [&] { is_done = true; });
    ASSERT_TRUE(until([&] { return is_done; }));
    EXPECT_EQ(answers, std::vector<std::string>{"switchdev"});
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(asked, 1);
}

TEST_F(EswitchReadsTest, ask_again_by_themselves_until_there_is_an_answer) {
    failures = 6;
    int done = 0;
    reads.read(pf, [&] { done++; });
    ASSERT_TRUE(until([&] { return answers.size() == 7; }));
    EXPECT_EQ(answers.back(), "switchdev");
    answers.pop_back();
    EXPECT_THAT(answers, Each("Cannot allocate memory"));
    EXPECT_EQ(done, 1) << "with the first answer, whatever it is";
    EXPECT_EQ(asked, 7);
}

TEST_F(EswitchReadsTest, ask_at_growing_intervals) {
    failures = 1'000'000;
    const auto begin = std::chrono::steady_clock::now();
    reads.read(pf);
    ASSERT_TRUE(until([&] { return answers.size() == 8; }));
    // 1 + 2 + 4 + 8 + 8 + 8 + 8
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(39));
}

TEST_F(EswitchReadsTest, ask_at_once_when_told_to) {
    failures = 1;
    seldom.read(pf);
    ASSERT_TRUE(until([&] { return answers.size() == 1; }));
    seldom.read(pf);
    ASSERT_TRUE(until([&] { return answers.size() == 2; }));
    EXPECT_EQ(answers.back(), "switchdev");
}

TEST_F(EswitchReadsTest, do_not_ask_a_device_again_that_has_gone) {
    failures = 1'000'000;
    is_there = false;
    reads.read(pf);
    ASSERT_TRUE(until([&] { return answers.size() == 1; }));
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(asked, 1);
}

TEST_F(EswitchReadsTest, do_not_ask_a_device_again_that_is_to_be_forgotten) {
    failures = 1'000'000;
    seldom.read(pf);
    ASSERT_TRUE(until([&] { return answers.size() == 1; }));
    seldom.forget(pf);
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace vdpa::agent::host
