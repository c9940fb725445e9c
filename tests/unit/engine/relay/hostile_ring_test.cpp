// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/relay/virtqueue.hpp"
#include "tests/unit/engine/relay/driver.hpp"

/* What a driver that means harm, or is broken, can put into a ring. The device must neither follow
 * it out of the guest's memory nor loop. */
namespace vdpa::engine::relay {
namespace {

using namespace test;

constexpr uint16_t ring_size = 8;

class HostileRingTest : public testing::TestWithParam<uint64_t> {
  protected:
    void open() { queue = make_virtqueue(driver->setup, GetParam(), memory, {}); }
    Fetch fetch() {
        Chain chain;
        return queue->fetch(chain, segments);
    }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    uint64_t buffer = ram.allocate(4096);
    uint64_t end = ram.region().guest_addr + ram.region().size;
    std::unique_ptr<Driver> driver = make_driver(ram, ring_size, GetParam());
    std::unique_ptr<Virtqueue> queue = make_virtqueue(driver->setup, GetParam(), memory, {});
    Segments segments;
};

TEST_P(HostileRingTest, ABufferOutsideOfGuestMemoryBreaksTheRing) {
    driver->add({{0x10, 100}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, ABufferThatLeavesGuestMemoryBreaksTheRing) {
    driver->add({{end - 10, 11}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, ABufferUpToTheEndOfGuestMemoryIsFine) {
    driver->add({{end - 10, 10}});
    EXPECT_EQ(fetch(), Fetch::ok);
}

TEST_P(HostileRingTest, ABufferThatWrapsAroundTheAddressSpaceBreaksTheRing) {
    driver->add({{UINT64_MAX - 3, 100}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, AHugeLengthBreaksTheRing) {
    driver->add({{buffer, UINT32_MAX}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, AnIndirectHugeLengthBreaksTheRing) {
    driver->add({{buffer, 64}, {buffer, UINT32_MAX}}, true);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, AReadableBufferBehindAWritableOneBreaksTheRing) {
    driver->add({{buffer, 64, true}, {buffer, 64, false}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, AnEmptyBufferIsPassedOver) {
    driver->add({{buffer, 0}, {buffer, 64}});
    EXPECT_EQ(fetch(), Fetch::ok);
    EXPECT_EQ(segments.count(), 1U);
}

TEST_P(HostileRingTest, ABufferAcrossTwoAdjacentRegionsIsTwoPieces) {
    const MemoryRegion whole = ram.region();
    const uint64_t border = buffer + 1000 - whole.guest_addr;
    const GuestMemory split(
        {{whole.guest_addr, border, whole.host},
         {whole.guest_addr + border, whole.size - border, whole.host + border}});
    queue = make_virtqueue(driver->setup, GetParam(), split, {});
    ASSERT_NE(queue, nullptr);
    driver->add({{buffer + 900, 200}});
    EXPECT_EQ(fetch(), Fetch::ok);
    ASSERT_EQ(segments.count(), 2U);
    EXPECT_EQ(segments.iov()[0].iov_len, 100U);
    EXPECT_EQ(segments.iov()[1].iov_base, ram.host(buffer + 1000));
}

TEST_P(HostileRingTest, ABufferAcrossAGapBreaksTheRing) {
    const MemoryRegion whole = ram.region();
    const uint64_t border = buffer + 1000 - whole.guest_addr;
    const GuestMemory gap(
        {{whole.guest_addr, border, whole.host},
         {whole.guest_addr + border + 1, whole.size - border - 1, whole.host + border + 1}});
    queue = make_virtqueue(driver->setup, GetParam(), gap, {});
    ASSERT_NE(queue, nullptr);
    driver->add({{buffer + 900, 200}});
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, MorePiecesThanFitAreCutOff) {
    std::vector<Buffer> chain(Segments::capacity + 5, Buffer{buffer, 1, false});
    driver->add(chain, true);
    Chain fetched;
    ASSERT_EQ(queue->fetch(fetched, segments), Fetch::ok);
    EXPECT_TRUE(fetched.cut);
    EXPECT_EQ(segments.count(), Segments::capacity);
    EXPECT_EQ(fetched.readable, Segments::capacity + 5);
}

TEST_P(HostileRingTest, AnEndlessIndirectTableBreaksTheRing) {
    std::vector<Buffer> chain(max_chain_descriptors + 1, Buffer{buffer, 1, false});
    driver->add(chain, true);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_P(HostileRingTest, ARingOutsideOfGuestMemoryIsNotServed) {
    for (void *RingSetup::*area : {&RingSetup::desc, &RingSetup::driver, &RingSetup::device}) {
        RingSetup setup = driver->setup;
        setup.*area = ram.host(end);
        EXPECT_EQ(make_virtqueue(setup, GetParam(), memory, {}), nullptr);
        setup.*area = nullptr;
        EXPECT_EQ(make_virtqueue(setup, GetParam(), memory, {}), nullptr);
    }
}

TEST_P(HostileRingTest, ARingThatLeavesGuestMemoryIsNotServed) {
    for (void *RingSetup::*area : {&RingSetup::desc, &RingSetup::driver, &RingSetup::device}) {
        RingSetup setup = driver->setup;
        setup.*area = ram.host(end - (area == &RingSetup::desc ? 16 : 0));
        EXPECT_EQ(make_virtqueue(setup, GetParam(), memory, {}), nullptr);
    }
}

TEST_P(HostileRingTest, AMisalignedRingIsNotServed) {
    for (void *RingSetup::*area : {&RingSetup::desc, &RingSetup::driver, &RingSetup::device}) {
        RingSetup setup = driver->setup;
        setup.*area = static_cast<uint8_t *>(setup.*area) + 1;
        EXPECT_EQ(make_virtqueue(setup, GetParam(), memory, {}), nullptr);
    }
}

TEST_P(HostileRingTest, ARingOfAnImpossibleSizeIsNotServed) {
    RingSetup setup = driver->setup;
    for (const uint32_t size : {0U, 32769U, 65536U, UINT32_MAX}) {
        setup.size = size;
        EXPECT_EQ(make_virtqueue(setup, GetParam(), memory, {}), nullptr) << size;
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, HostileRingTest,
                         testing::Values(split_flags, split_event, packed_flags, packed_event),
                         FormatName());

class HostileSplitTest : public testing::Test {
  protected:
    Fetch fetch() {
        Chain chain;
        return queue->fetch(chain, segments);
    }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    uint64_t buffer = ram.allocate(4096, 4096);
    SplitDriver driver{ram, ring_size, true};
    std::unique_ptr<Virtqueue> queue = make_virtqueue(driver.setup, split_event, memory, {});
    Segments segments;
};

TEST_F(HostileSplitTest, ALoopBreaksTheRing) {
    driver.desc[0] = {buffer, 1, VRING_DESC_F_NEXT, 1};
    driver.desc[1] = {buffer, 1, VRING_DESC_F_NEXT, 0};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, AHeadOutsideOfTheTableBreaksTheRing) {
    driver.expose(ring_size);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ANextOutsideOfTheTableBreaksTheRing) {
    driver.desc[0] = {buffer, 1, VRING_DESC_F_NEXT, 0xffff};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, AnIndexThatJumpsBreaksTheRing) {
    for (const uint16_t idx : {uint16_t{ring_size + 1}, uint16_t{0x8000}, uint16_t{0xffff}}) {
        driver.avail->idx = idx;
        EXPECT_EQ(fetch(), Fetch::broken) << idx;
    }
}

TEST_F(HostileSplitTest, ATableThatIsNotWholeDescriptorsBreaksTheRing) {
    for (const uint32_t len : {0U, 8U, 17U, 4097U}) {
        driver.desc[0] = {buffer, len, VRING_DESC_F_INDIRECT, 0};
        driver.expose(0);
        EXPECT_EQ(fetch(), Fetch::broken) << len;
    }
}

TEST_F(HostileSplitTest, ATableOutsideOfGuestMemoryBreaksTheRing) {
    driver.desc[0] = {0x10, 16, VRING_DESC_F_INDIRECT, 0};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ATableInATableBreaksTheRing) {
    auto *table = reinterpret_cast<vring_desc *>(ram.host(buffer));
    table[0] = {buffer, 16, VRING_DESC_F_INDIRECT, 0};
    driver.desc[0] = {buffer, 16, VRING_DESC_F_INDIRECT, 0};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ATableThatGoesOnBreaksTheRing) {
    auto *table = reinterpret_cast<vring_desc *>(ram.host(buffer));
    table[0] = {buffer, 16, 0, 0};
    driver.desc[0] = {buffer, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ALoopInATableBreaksTheRing) {
    auto *table = reinterpret_cast<vring_desc *>(ram.host(buffer));
    table[0] = {buffer, 1, VRING_DESC_F_NEXT, 1};
    table[1] = {buffer, 1, VRING_DESC_F_NEXT, 0};
    driver.desc[0] = {buffer, 32, VRING_DESC_F_INDIRECT, 0};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ANextOutsideOfATableBreaksTheRing) {
    auto *table = reinterpret_cast<vring_desc *>(ram.host(buffer));
    table[0] = {buffer, 1, VRING_DESC_F_NEXT, 2};
    driver.desc[0] = {buffer, 32, VRING_DESC_F_INDIRECT, 0};
    driver.expose(0);
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostileSplitTest, ASizeThatIsNoPowerOfTwoIsNotServed) {
    RingSetup setup = driver.setup;
    setup.size = 7;
    EXPECT_EQ(make_virtqueue(setup, split_event, memory, {}), nullptr);
}

class HostilePackedTest : public testing::Test {
  protected:
    Fetch fetch() {
        Chain chain;
        return queue->fetch(chain, segments);
    }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    uint64_t buffer = ram.allocate(4096, 4096);
    PackedDriver driver{ram, ring_size, true};
    std::unique_ptr<Virtqueue> queue = make_virtqueue(driver.setup, packed_event, memory, {});
    Segments segments;
};

TEST_F(HostilePackedTest, AChainWithoutEndBreaksTheRing) {
    for (int n = 0; n < ring_size; n++) {
        driver.desc[n] = {buffer, 1, 0,
                          static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_NEXT)};
    }
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostilePackedTest, ATableThatGoesOnBreaksTheRing) {
    driver.desc[0] = {buffer, 16, 0,
                      static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_INDIRECT |
                                            VRING_DESC_F_NEXT)};
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostilePackedTest, ATableInTheMiddleOfAChainBreaksTheRing) {
    driver.desc[1] = {buffer, 16, 0,
                      static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_INDIRECT)};
    driver.desc[0] = {buffer, 1, 0,
                      static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_NEXT)};
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostilePackedTest, ATableInATableBreaksTheRing) {
    auto *table = reinterpret_cast<vring_packed_desc *>(ram.host(buffer));
    table[0] = {buffer, 16, 0, VRING_DESC_F_INDIRECT};
    driver.desc[0] = {buffer, 16, 0,
                      static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_INDIRECT)};
    EXPECT_EQ(fetch(), Fetch::broken);
}

TEST_F(HostilePackedTest, ATableThatIsNotWholeDescriptorsBreaksTheRing) {
    for (const uint32_t len : {0U, 8U, 17U}) {
        driver.desc[0] = {buffer, len, 0,
                          static_cast<uint16_t>(driver.available_flags() | VRING_DESC_F_INDIRECT)};
        EXPECT_EQ(fetch(), Fetch::broken) << len;
    }
}

TEST_F(HostilePackedTest, APositionOutsideOfTheRingIsNotServed) {
    RingSetup setup = driver.setup;
    setup.next_avail = ring_size;
    EXPECT_EQ(make_virtqueue(setup, packed_event, memory, {}), nullptr);
    setup = driver.setup;
    setup.next_used = 0x8000 | ring_size;
    EXPECT_EQ(make_virtqueue(setup, packed_event, memory, {}), nullptr);
}

}  // namespace
}  // namespace vdpa::engine::relay
