// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/tap.hpp"

#include <linux/if_tun.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "tests/unit/engine/relay/tap_sandbox.hpp"

namespace vdpa::engine::relay {
namespace {

class TapTest : public test::TapSandbox, public testing::WithParamInterface<bool> {
  protected:
    void make() { make_tap("vm1", GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Kinds, TapTest, testing::Bool(), [](const auto &kind) {
    return kind.param ? "MultiQueue" : "SingleQueue";
});

using MultiQueueTapTest = test::TapSandbox;
class SingleQueueTapTest : public test::TapSandbox {};

TEST_P(TapTest, ANetdevThatIsNotThereIsMissingAndNotMade) {
    const auto tap = Tap::open("vm1", 1);
    ASSERT_FALSE(tap);
    EXPECT_EQ(tap.error().reason, schema::Reason::netdev_missing);
    EXPECT_FALSE(exists("vm1"));
}

TEST_P(TapTest, ANetdevThatIsNoTapFails) {
    const auto tap = Tap::open("lo", 1);
    ASSERT_FALSE(tap);
    EXPECT_EQ(tap.error().reason, schema::Reason::tap_failed);
    EXPECT_NE(tap.error().detail.find("lo"), std::string::npos);
}

TEST_P(TapTest, ANameThatNoNetdevHasFails) {
    const auto tap = Tap::open("a-name-of-sixteen", 1);
    ASSERT_FALSE(tap);
    EXPECT_EQ(tap.error().reason, schema::Reason::tap_failed);
}

TEST_P(TapTest, OpeningLeavesANetdevThatIsServedAlone) {
    make();
    auto server = Tap::open("vm1", 1);
    ASSERT_TRUE(server);
    ASSERT_TRUE(server->configure(12, TUN_F_CSUM | TUN_F_TSO4));
    ASSERT_TRUE(server->set_carrier(true));
    {
        const auto next = Tap::open("vm1", 1, true);
        ASSERT_TRUE(next) << next.error().detail;
        EXPECT_EQ(queues("vm1"), 1U);
        EXPECT_TRUE(carrier("vm1"));
        EXPECT_TRUE(tso("vm1"));
    }
    EXPECT_TRUE(carrier("vm1"));
}

TEST_P(TapTest, TakingGivesOneQueueWithoutCarrierAndOffloads) {
    make();
    auto tap = Tap::open("vm1", 4);
    ASSERT_TRUE(tap) << tap.error().detail;
    ASSERT_TRUE(tap->take());
    EXPECT_EQ(queues("vm1"), 1U);
    EXPECT_FALSE(carrier("vm1"));
    EXPECT_FALSE(tso("vm1"));
}

TEST_P(TapTest, TheNetdevStaysWhenItIsClosed) {
    make();
    {
        auto tap = Tap::open("vm1", 1);
        ASSERT_TRUE(tap);
        ASSERT_TRUE(tap->set_carrier(true));
        EXPECT_TRUE(carrier("vm1"));
    }
    EXPECT_TRUE(exists("vm1"));
    EXPECT_FALSE(carrier("vm1"));
}

TEST_P(TapTest, OffloadsAreSwitchedOnAndOff) {
    make();
    auto tap = Tap::open("vm1", 1);
    ASSERT_TRUE(tap);
    ASSERT_TRUE(tap->configure(12, TUN_F_CSUM | TUN_F_TSO4));
    EXPECT_TRUE(tso("vm1"));
    ASSERT_TRUE(tap->configure(10, 0));
    EXPECT_FALSE(tso("vm1"));
}

TEST_F(SingleQueueTapTest, LendsItsQueueToAll) {
    make_tap("vm1", false);
    auto tap = Tap::open("vm1", 3);
    ASSERT_TRUE(tap);
    for (unsigned n = 0; n < 3; n++) {
        ASSERT_TRUE(tap->open_queue(n));
        ASSERT_TRUE(tap->steer_queue(n, n < 2));
        EXPECT_EQ(tap->queue_fd(n), tap->queue_fd(0));
        EXPECT_EQ(tap->receives(n), n == 0);
    }
    tap->close_queue(2);
    EXPECT_GE(tap->queue_fd(2), 0);
}

TEST_F(SingleQueueTapTest, IsOpenFromTheBeginningAndGetsNoFrameWithoutCarrier) {
    make_tap("vm1", false);
    auto tap = Tap::open("vm1", 1);
    ASSERT_TRUE(tap);
    ASSERT_GE(tap->queue_fd(0), 0);
    EXPECT_FALSE(carrier("vm1"));
    test::HostPort host("vm1");
    for (uint32_t n = 0; n < 10; n++) {
        host.send(test::test_frame(n));
    }
    std::array<char, 64> frame;
    EXPECT_EQ(read(tap->queue_fd(0), frame.data(), frame.size()), -1);
    EXPECT_EQ(errno, EAGAIN);
    ASSERT_TRUE(tap->set_carrier(true));
    EXPECT_TRUE(test::eventually([&] {
        host.send(test::test_frame(10));
        return read(tap->queue_fd(0), frame.data(), frame.size()) > 0;
    }));
}

TEST_P(TapTest, IsTakenAfterWhoeverServedItHasLetGo) {
    make();
    auto before = Tap::open("vm1", 1);
    ASSERT_TRUE(before);
    ASSERT_TRUE(before->take());
    EXPECT_EQ(Tap::open("vm1", 1).has_value(), GetParam()) << "a stranger may have it";
    auto next = Tap::open("vm1", 1, true);
    ASSERT_TRUE(next);
    if (!GetParam()) {
        const auto early = next->take();
        ASSERT_FALSE(early);
        EXPECT_EQ(early.error().reason, schema::Reason::tap_failed);
    }
    before = tl::make_unexpected(Error{schema::Reason::tap_failed, "let go"});
    ASSERT_TRUE(next->take());
    ASSERT_TRUE(next->set_carrier(true));
    EXPECT_TRUE(carrier("vm1"));
}

TEST_F(MultiQueueTapTest, QueuesAreUsedAsTheyAreAskedFor) {
    make_tap("vm1");
    auto tap = Tap::open("vm1", 3);
    ASSERT_TRUE(tap);
    ASSERT_TRUE(tap->take());
    ASSERT_TRUE(tap->open_queue(1));
    ASSERT_TRUE(tap->open_queue(2));
    EXPECT_EQ(queues("vm1"), 3U);
    ASSERT_TRUE(tap->steer_queue(1, false));
    EXPECT_EQ(queues("vm1"), 2U);
    ASSERT_TRUE(tap->steer_queue(1, true));
    EXPECT_EQ(queues("vm1"), 3U);
    tap->close_queue(2);
    EXPECT_EQ(queues("vm1"), 2U);
    tap->close_queue(0);
    EXPECT_GE(tap->queue_fd(0), 0);
}

TEST_P(TapTest, DrainLeavesNothingToRead) {
    make();
    auto tap = Tap::open("vm1", 1);
    ASSERT_TRUE(tap);
    ASSERT_TRUE(tap->set_carrier(true));
    test::HostPort host("vm1");
    ASSERT_TRUE(test::eventually([&] { return host.send(test::test_frame(1)); }));
    std::array<char, 64> frame;
    ASSERT_TRUE(test::eventually([&] {
        host.send(test::test_frame(2));
        return read(tap->queue_fd(0), frame.data(), frame.size()) > 0;
    }));
    tap->drain();
    EXPECT_EQ(read(tap->queue_fd(0), frame.data(), frame.size()), -1);
    EXPECT_EQ(errno, EAGAIN);
}

}  // namespace
}  // namespace vdpa::engine::relay
