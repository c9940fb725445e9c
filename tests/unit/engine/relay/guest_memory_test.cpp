// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/guest_memory.hpp"

#include <gtest/gtest.h>

#include <array>

namespace vdpa::engine::relay {
namespace {

std::array<uint8_t, 8192> ram;

TEST(GuestMemory, TranslatesByRegion) {
    const GuestMemory memory({{0x1000, 4096, ram.data()}, {0x8000, 4096, ram.data() + 4096}});
    uint64_t len = 16;
    EXPECT_EQ(memory.at(0x1010, len), ram.data() + 0x10);
    EXPECT_EQ(len, 16U);
    EXPECT_EQ(memory.at(0x8000, len), ram.data() + 4096);
}

TEST(GuestMemory, GivesWhatIsThereUpToTheEndOfARegion) {
    const GuestMemory memory({{0x1000, 4096, ram.data()}});
    uint64_t len = 100;
    EXPECT_EQ(memory.at(0x1ff0, len), ram.data() + 0xff0);
    EXPECT_EQ(len, 16U);
}

TEST(GuestMemory, HasNothingOutsideOfItsRegions) {
    const GuestMemory memory({{0x1000, 4096, ram.data()}});
    for (const uint64_t addr : {uint64_t{0}, uint64_t{0xfff}, uint64_t{0x2000}, UINT64_MAX}) {
        uint64_t len = 1;
        EXPECT_EQ(memory.at(addr, len), nullptr) << addr;
        EXPECT_EQ(len, 0U);
    }
}

TEST(GuestMemory, IgnoresRegionsThatWrapAround) {
    const GuestMemory memory({{UINT64_MAX - 100, 4096, ram.data()}});
    uint64_t len = 1;
    EXPECT_EQ(memory.at(UINT64_MAX - 50, len), nullptr);
    EXPECT_EQ(memory.at(10, len), nullptr);
}

TEST(GuestMemory, FindsTheGuestAddressOfWhatLiesInOneRegion) {
    const GuestMemory memory({{0x1000, 4096, ram.data()}});
    EXPECT_EQ(memory.guest_addr(ram.data() + 8, 4088), 0x1008U);
    EXPECT_FALSE(memory.guest_addr(ram.data() + 8, 4089));
    EXPECT_FALSE(memory.guest_addr(ram.data() + 4097, 1));
}

TEST(DirtyLog, MarksEveryPageThatARangeTouches) {
    std::array<uint8_t, 4> bitmap{};
    const DirtyLog log{bitmap.data(), bitmap.size()};
    log.mark(4096 * 7 + 4095, 4096 + 2);  // pages 7, 8, 9
    EXPECT_EQ(bitmap, (std::array<uint8_t, 4>{0x80, 0x03, 0, 0}));
}

TEST(DirtyLog, LeavesOutWhatTheBitmapDoesNotCover) {
    std::array<uint8_t, 2> bitmap{};
    const DirtyLog log{bitmap.data(), 1};
    log.mark(0, uint64_t{1} << 40);
    log.mark(UINT64_MAX, 2);
    log.mark(0, 0);
    EXPECT_EQ(bitmap, (std::array<uint8_t, 2>{0xff, 0}));
}

}  // namespace
}  // namespace vdpa::engine::relay
