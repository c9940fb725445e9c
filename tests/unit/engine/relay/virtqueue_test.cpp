// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/virtqueue.hpp"

#include <gtest/gtest.h>

#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

class VirtqueueTest : public testing::TestWithParam<uint64_t> {
  protected:
    explicit VirtqueueTest(uint16_t size = 8) : driver(make_driver(ram, size, GetParam())) {
        queue = make_virtqueue(driver->setup, GetParam(), memory, {});
    }

    uint16_t add_one(uint32_t len = 100, bool writable = false) {
        return driver->add({{buffer, len, writable}});
    }
    void pass_one() {
        add_one();
        Chain chain;
        segments.clear();
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
        queue->use(chain, 0);
        queue->publish();
        ASSERT_TRUE(driver->take_used());
    }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    uint64_t buffer = ram.allocate(65536);
    std::unique_ptr<Driver> driver;
    std::unique_ptr<Virtqueue> queue;
    Segments segments;
};

TEST_P(VirtqueueTest, AFreshRingIsEmpty) {
    Chain chain;
    ASSERT_NE(queue, nullptr);
    EXPECT_FALSE(queue->available());
    EXPECT_EQ(queue->fetch(chain, segments), Fetch::empty);
}

TEST_P(VirtqueueTest, FetchGivesTheBuffersOfAChainInOrder) {
    const uint16_t id =
        driver->add({{buffer, 12, false}, {buffer + 100, 200, false}, {buffer + 500, 7, true}});
    Chain chain;
    EXPECT_TRUE(queue->available());
    ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
    EXPECT_EQ(chain.id, id);
    EXPECT_EQ(chain.readable, 212U);
    EXPECT_EQ(chain.writable, 7U);
    ASSERT_EQ(segments.count(), 3U);
    EXPECT_EQ(segments.iov()[1].iov_base, ram.host(buffer + 100));
    EXPECT_EQ(segments.iov()[1].iov_len, 200U);
    EXPECT_EQ(segments.guest_addr()[2], buffer + 500);
    EXPECT_FALSE(queue->available());
}

TEST_P(VirtqueueTest, FetchFollowsAnIndirectTable) {
    const uint16_t id = driver->add({{buffer, 12, false}, {buffer + 64, 1500, false}}, true);
    Chain chain;
    ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
    EXPECT_EQ(chain.id, id);
    EXPECT_EQ(chain.slots, 1);
    EXPECT_EQ(chain.readable, 1512U);
    EXPECT_EQ(segments.count(), 2U);
}

TEST_P(VirtqueueTest, TheDriverSeesNothingBeforePublish) {
    const uint16_t first = add_one();
    const uint16_t second = add_one();
    Chain chain;
    for (const uint32_t written : {10U, 20U}) {
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
        queue->use(chain, written);
    }
    EXPECT_FALSE(driver->take_used());
    queue->publish();
    EXPECT_EQ(driver->take_used(), (Used{first, 10}));
    EXPECT_EQ(driver->take_used(), (Used{second, 20}));
    EXPECT_FALSE(driver->take_used());
}

TEST_P(VirtqueueTest, ChainsOfAllLengthsPassOverManyLaps) {
    for (uint32_t round = 0; round < 100'000; round++) {
        std::vector<Buffer> buffers(1 + round % 5, Buffer{buffer, round % 1000 + 1, true});
        const uint16_t id = driver->add(buffers);
        Chain chain;
        segments.clear();
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok) << round;
        ASSERT_EQ(chain.writable, buffers.size() * buffers[0].len) << round;
        queue->use(chain, round);
        queue->publish();
        ASSERT_EQ(driver->take_used(), (Used{id, round}));
        ASSERT_FALSE(queue->available());
    }
}

TEST_P(VirtqueueTest, AFullRingPasses) {
    for (uint32_t lap = 0; lap < 5; lap++) {
        for (uint32_t n = 0; n < driver->size(); n++) {
            add_one(n + 1);
        }
        Chain chain;
        for (uint32_t n = 0; n < driver->size(); n++) {
            ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
            ASSERT_EQ(chain.readable, n + 1);
            queue->use(chain, 0);
        }
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::empty);
        queue->publish();
        for (uint32_t n = 0; n < driver->size(); n++) {
            ASSERT_TRUE(driver->take_used());
        }
        segments.clear();
    }
}

TEST_P(VirtqueueTest, UnfetchedChainsAreFetchedAgain) {
    for (int n = 0; n < 6; n++) {
        pass_one();
    }
    driver->add({{buffer, 1, true}, {buffer, 2, true}, {buffer, 3, true}});  // over the end
    Chain first, again;
    ASSERT_EQ(queue->fetch(first, segments), Fetch::ok);
    queue->unfetch(first);
    EXPECT_TRUE(queue->available());
    ASSERT_EQ(queue->fetch(again, segments), Fetch::ok);
    EXPECT_EQ(again.id, first.id);
    EXPECT_EQ(again.writable, 6U);
}

TEST_P(VirtqueueTest, AnotherDeviceGoesOnAtThePosition) {
    for (int n = 0; n < 13; n++) {
        pass_one();
    }
    const uint16_t id = add_one(77);
    add_one(78);
    Chain chain;
    ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);  // fetched, not used: not done
    RingSetup setup = driver->setup;
    setup.next_avail = setup.next_used = queue->position();
    const auto successor = make_virtqueue(setup, GetParam(), memory, {});
    ASSERT_NE(successor, nullptr);
    ASSERT_EQ(successor->fetch(chain, segments), Fetch::ok);
    EXPECT_EQ(chain.id, id);
    EXPECT_EQ(chain.readable, 77U);
    successor->use(chain, 0);
    successor->publish();
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
}

TEST_P(VirtqueueTest, KicksAreAskedForOnlyWhileEnabled) {
    queue->disable_kicks();
    driver->must_kick();
    queue->enable_kicks();
    add_one();
    EXPECT_TRUE(driver->must_kick());
    Chain chain;
    ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
    queue->use(chain, 0);
    queue->disable_kicks();
    add_one();
    EXPECT_FALSE(driver->must_kick());
    ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
    queue->use(chain, 0);
    queue->enable_kicks();
    add_one();
    EXPECT_TRUE(driver->must_kick());
}

TEST_P(VirtqueueTest, KicksWorkInEveryLap) {
    for (int n = 0; n < 200; n++) {
        queue->enable_kicks();
        ASSERT_FALSE(queue->available());
        add_one();
        ASSERT_TRUE(driver->must_kick()) << n;
        queue->disable_kicks();
        Chain chain;
        segments.clear();
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
        queue->use(chain, 0);
        queue->publish();
        ASSERT_TRUE(driver->take_used());
    }
}

TEST_P(VirtqueueTest, InterruptsAreWantedOnlyWhenTheDriverSaysSo) {
    const auto use_one = [this] {
        add_one();
        Chain chain;
        EXPECT_EQ(queue->fetch(chain, segments), Fetch::ok);
        queue->use(chain, 0);
        const bool interrupt = queue->publish();
        EXPECT_TRUE(driver->take_used());
        return interrupt;
    };
    driver->interrupts(true);
    use_one();  // whatever: it is the first
    for (int n = 0; n < 50; n++) {
        driver->interrupts(true);
        ASSERT_TRUE(use_one()) << n;
        driver->interrupts(false);
        ASSERT_FALSE(use_one()) << n;
    }
}

TEST_P(VirtqueueTest, PublishWithNothingUsedWantsNoInterrupt) {
    driver->interrupts(true);
    EXPECT_FALSE(queue->publish());
}

class EventIndexTest : public VirtqueueTest {};

TEST_P(EventIndexTest, TheInterruptComesWithTheEntryThatWasAskedFor) {
    driver->interrupts(true);
    pass_one();
    for (int round = 0; round < 50; round++) {
        driver->interrupt_after(3);
        for (int n = 1; n <= 3; n++) {
            add_one();
            Chain chain;
            segments.clear();
            ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
            queue->use(chain, 0);
            ASSERT_EQ(queue->publish(), n == 3) << round << "." << n;
        }
        driver->interrupts(false);
        while (driver->take_used()) {
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, VirtqueueTest,
                         testing::Values(split_flags, split_event, packed_flags, packed_event),
                         FormatName());
INSTANTIATE_TEST_SUITE_P(Formats, EventIndexTest, testing::Values(split_event, packed_event),
                         FormatName());

TEST(PackedQueue, TakesASizeThatIsNoPowerOfTwo) {
    GuestRam ram;
    const GuestMemory memory({ram.region()});
    const uint64_t buffer = ram.allocate(64);
    const auto driver = make_driver(ram, 5, packed_event);
    const auto queue = make_virtqueue(driver->setup, packed_event, memory, {});
    ASSERT_NE(queue, nullptr);
    Segments segments;
    for (int n = 0; n < 100; n++) {
        const uint16_t id = driver->add({{buffer, 1, true}, {buffer, 1, true}});
        Chain chain;
        segments.clear();
        ASSERT_EQ(queue->fetch(chain, segments), Fetch::ok);
        queue->use(chain, 2);
        queue->publish();
        ASSERT_EQ(driver->take_used(), (Used{id, 2}));
    }
}

TEST(Segments, KeepWhatIsInThemWhenTheyMoveToTheFront) {
    auto segments = std::make_unique<Segments>();
    uint64_t added = 0;
    uint64_t dropped = 0;
    for (int round = 0; round < 5000; round++) {
        while (!segments->full()) {
            segments->add(nullptr, added, added);
            added++;
        }
        segments->drop_front(7);
        dropped += 7;
        ASSERT_EQ(segments->guest_addr()[0], dropped);
        ASSERT_EQ(segments->iov()[segments->count() - 1].iov_len, added - 1);
    }
}

}  // namespace
}  // namespace vdpa::engine::relay
