// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using test::FrontEnd;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class StatisticsTest : public PortFixture {};

TEST_F(StatisticsTest, EveryCounterOfTheDriverIsThereUnderItsOwnName) {
    auto port = serve(spec("vdpa_test0", 2));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    const auto stats = port->stats();
    ASSERT_THAT(stats, SizeIs(4));
    EXPECT_THAT(stats[0].counters, UnorderedElementsAre(Pair("received_descriptors", 1),
                                                        Pair("completed_descriptors", 1),
                                                        Pair("bad descriptor errors", 2)));
    for (uint32_t ring = 0; ring < 4; ++ring) {
        EXPECT_EQ(stats[ring].index, ring);
        EXPECT_EQ(stats[ring].counters.at("received_descriptors"), ring < 2 ? 1U : 0U);
    }
}

TEST_F(StatisticsTest, ARingWithoutCountersDoesNotEndTheList) {
    for (const char *answer : {"einval", "enotsup", "zero"}) {
        auto port = serve(spec(std::string("vdpa_test0,stats=") + answer, 2));
        const auto stats = port->stats();
        ASSERT_THAT(stats, SizeIs(4)) << answer;
        EXPECT_THAT(stats[0].counters, SizeIs(3)) << answer;
        for (uint32_t ring = 1; ring < 4; ++ring) {
            EXPECT_EQ(stats[ring].index, ring);
            EXPECT_THAT(stats[ring].counters, IsEmpty()) << answer;
        }
    }
}

TEST_F(StatisticsTest, ADriverWithoutStatisticsHasAListOfRings) {
    auto port = serve(spec("vdpa_test0,stats=none", 1));
    const auto stats = port->stats();
    ASSERT_THAT(stats, SizeIs(2));
    EXPECT_THAT(stats[1].counters, IsEmpty());
    port->reset_stats();
}

TEST_F(StatisticsTest, TheyBeginAtZeroAgainWhenTheyAreReset) {
    auto port = serve(spec("vdpa_test0", 1));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    test::take_calls();
    test::fail_call("reset_stats", 1, -EINVAL);  // which does not keep it from the other rings
    port->reset_stats();
    EXPECT_THAT(test::take_calls(), testing::ElementsAre("reset_stats 0", "reset_stats 1"));
    EXPECT_EQ(port->stats()[1].counters.at("received_descriptors"), 0U);
}

TEST_F(StatisticsTest, ADriverAtWorkKeepsNobodyWaiting) {
    auto port = serve(spec("vdpa_test0", 1));
    test::slow_call("dev_conf", 1500);
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate());
    ASSERT_TRUE(guest.share_memory());
    for (uint32_t ring = 0; ring < 2; ++ring) {
        guest.set_up_ring(ring);
        guest.enable_ring(ring, true);
    }
    const auto begin = std::chrono::steady_clock::now();
    // Until the driver is at work, there are counters.
    bool without = false;
    while (!without && std::chrono::steady_clock::now() - begin < std::chrono::seconds(10)) {
        without = port->stats()[0].counters.empty();
    }
    EXPECT_TRUE(without);
    EXPECT_TRUE(guest.settled());
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    EXPECT_THAT(port->stats()[0].counters, SizeIs(3));
    EXPECT_GE(live().datapath.stall_ms, 1500U);
    test::slow_call("dev_conf", 0);
}

}  // namespace
}  // namespace vdpa::engine::device
