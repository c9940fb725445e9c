// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/memory_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr uint64_t mebibyte = uint64_t{1} << 20;
constexpr uint64_t gibibyte = uint64_t{1} << 30;
constexpr uint64_t small_page = 4096;
constexpr uint64_t large_page = 2 * mebibyte;

Region region(uint64_t guest, uint64_t size, uint64_t page_size = small_page) {
    return {
        .guest = guest, .size = size, .host = guest + (uint64_t{1} << 45), .page_size = page_size};
}

class MemoryMapTest : public testing::Test {
  protected:
    MemoryMapTest() : device_(*open_device(kernel_, "/dev/vhost-vdpa-7")) {
        info_ = *probe(device_);
        kernel_.forget_calls();
    }

    FakeKernel kernel_;
    VhostVdpa device_;
    DeviceInfo info_;
    const Cancellation going_on_;
};

TEST_F(MemoryMapTest, MapsAtTheGuestsAddressesInOneBatch) {
    MemoryMap map(device_, info_, 0);
    const auto mapped = map.map({region(0, mebibyte), region(gibibyte, 2 * mebibyte)}, going_on_);
    ASSERT_TRUE(mapped) << mapped.error().detail;
    EXPECT_TRUE(*mapped);
    EXPECT_THAT(kernel_.calls(), ElementsAre("BATCH_BEGIN 0", "MAP 0 0x0 0x100000",
                                             "MAP 0 0x40000000 0x200000", "BATCH_END 0"));
    EXPECT_THAT(kernel_.mappings(),
                ElementsAre(Pair(0, FakeKernel::Mapping{mebibyte, uint64_t{1} << 45}),
                            Pair(gibibyte, FakeKernel::Mapping{2 * mebibyte,
                                                               (uint64_t{1} << 45) + gibibyte})));
    kernel_.forget_calls();
    EXPECT_TRUE(map.unmap());
    EXPECT_THAT(kernel_.calls(), ElementsAre("BATCH_BEGIN 0", "UNMAP 0 0x40000000 0x200000",
                                             "UNMAP 0 0x0 0x100000", "BATCH_END 0"));
    EXPECT_TRUE(kernel_.clean());
    EXPECT_TRUE(map.empty());
}

TEST_F(MemoryMapTest, UsesNoBatchesWhereTheKernelHasNone) {
    info_.backend_features &= ~bit(BackendFeature::iotlb_batch);
    MemoryMap map(device_, info_, 0);
    ASSERT_TRUE(map.map({region(0, mebibyte)}, going_on_));
    ASSERT_TRUE(map.unmap());
    EXPECT_THAT(kernel_.calls(), ElementsAre("MAP 0 0x0 0x100000", "UNMAP 0 0x0 0x100000"));
}

TEST_F(MemoryMapTest, HandsMemoryOverInPiecesThatEndOnTheirOwnMultiples) {
    MemoryMap map(device_, info_, 0);
    ASSERT_TRUE(map.map({region(48 * mebibyte, 64 * mebibyte, large_page)}, going_on_));
    EXPECT_THAT(kernel_.calls(), ElementsAre("BATCH_BEGIN 0", "MAP 0 0x3000000 0x1000000",
                                             "MAP 0 0x4000000 0x2000000",
                                             "MAP 0 0x6000000 0x1000000", "BATCH_END 0"));
    // The addresses of this process go with them.
    EXPECT_EQ(kernel_.mappings().at(64 * mebibyte).address, (uint64_t{1} << 45) + 64 * mebibyte);
    EXPECT_TRUE(map.unmap());
}

TEST_F(MemoryMapTest, LeavesNoPageForTheLibraryToUnmap) {
    MemoryMap map(device_, info_, 0);
    ASSERT_TRUE(
        map.map({region(0, 32 * mebibyte, large_page), region(gibibyte, mebibyte)}, going_on_));
    EXPECT_THAT(kernel_.forgotten_pages(),
                ElementsAre(Pair(uint64_t{1} << 45, 32 * mebibyte),
                            Pair((uint64_t{1} << 45) + gibibyte, mebibyte)));
    kernel_.fail("MAP", EFAULT);
    MemoryMap failing(device_, info_, 0);
    EXPECT_FALSE(failing.map({region(2 * gibibyte, mebibyte)}, going_on_));
    EXPECT_EQ(kernel_.forgotten_pages().size(), 2U);
    EXPECT_TRUE(map.unmap());
}

TEST(PieceSize, LeavesEntriesOfTheKernelsTableForMemoryThatIsNotContiguous) {
    constexpr uint64_t entries = 2048;
    for (const uint64_t total : {gibibyte, 64 * gibibyte, 100 * gibibyte, 128 * gibibyte}) {
        EXPECT_LE(total / piece_size(region(0, total, small_page), total, entries), 1536U) << total;
    }
    constexpr uint64_t much = 1024 * gibibyte;
    EXPECT_LE(much / piece_size(region(0, much, large_page), much, entries), 1024U);
}

TEST(PieceSize, IsAFewMillisecondsWorthWhereTheTableHasRoom) {
    constexpr uint64_t total = 64 * gibibyte;
    EXPECT_EQ(piece_size(region(0, total, small_page), total, 65536), 16 * mebibyte);
    EXPECT_EQ(piece_size(region(0, total, small_page), total, UINT64_MAX), 16 * mebibyte);
    EXPECT_EQ(piece_size(region(0, total, large_page), total, UINT64_MAX), 32 * mebibyte);
}

TEST(PieceSize, IsBoundedWhateverTheTableHas) {
    constexpr uint64_t total = 1024 * gibibyte;
    for (const uint64_t entries : {uint64_t{0}, uint64_t{1}, uint64_t{2048}}) {
        EXPECT_EQ(piece_size(region(0, total, small_page), total, entries), 128 * mebibyte)
            << entries;
    }
}

TEST_F(MemoryMapTest, StopsBetweenPiecesWhenCancelled) {
    Cancellation cancellation;
    kernel_.on_map = [&cancellation, n = 0]() mutable {
        if (++n == 2) {
            cancellation.cancel();
        }
    };
    MemoryMap map(device_, info_, 0);
    const auto mapped = map.map({region(0, 256 * mebibyte)}, cancellation);
    ASSERT_TRUE(mapped);
    EXPECT_FALSE(*mapped);
    EXPECT_EQ(kernel_.mappings().size(), 2U);
    EXPECT_EQ(kernel_.forgotten_pages().size(), 1U) << "the memory may be gone already";
    EXPECT_TRUE(map.unmap());
    EXPECT_TRUE(kernel_.clean());
}

TEST_F(MemoryMapTest, LeavesNothingBehindWhicheverCallFails) {
    const std::vector<Region> memory = {region(0, 64 * mebibyte, large_page),
                                        region(gibibyte, mebibyte)};
    for (size_t i = 0; i < 5; ++i) {
        kernel_.forget_calls();
        kernel_.fail_after(i, EFAULT);
        MemoryMap map(device_, info_, 0);
        const auto mapped = map.map(memory, going_on_);
        ASSERT_FALSE(mapped) << i;
        EXPECT_EQ(mapped.error().reason, schema::Reason::device_failed);
        EXPECT_THAT(mapped.error().detail, HasSubstr("/dev/vhost-vdpa-7: VHOST_IOTLB_"));
        EXPECT_TRUE(map.unmap()) << i;
        EXPECT_TRUE(kernel_.clean()) << i;
    }
}

TEST_F(MemoryMapTest, SaysWhatToDoWhenTheKernelDoesNotMap) {
    kernel_.fail("MAP", EFAULT);
    MemoryMap map(device_, info_, 0);
    const auto mapped = map.map({region(0, 64 * mebibyte)}, going_on_);
    ASSERT_FALSE(mapped);
    EXPECT_THAT(mapped.error().detail, HasSubstr("hugepages"));
    EXPECT_THAT(mapped.error().detail, HasSubstr("max_iotlb_entries"));
    map.unmap();
}

TEST_F(MemoryMapTest, GoesOnUnmappingAfterAFailure) {
    MemoryMap map(device_, info_, 0);
    ASSERT_TRUE(map.map({region(0, mebibyte), region(gibibyte, mebibyte)}, going_on_));
    kernel_.forget_calls();
    kernel_.fail_after(1, EFAULT);
    const auto unmapped = map.unmap();
    ASSERT_FALSE(unmapped);
    EXPECT_THAT(unmapped.error().detail, HasSubstr("VHOST_IOTLB_INVALIDATE"));
    EXPECT_THAT(kernel_.mappings(), ElementsAre(Pair(gibibyte, testing::_)));
    EXPECT_FALSE(kernel_.in_batch());
    EXPECT_TRUE(map.empty());
}

TEST_F(MemoryMapTest, UnmapsNothingThatWasNotMapped) {
    MemoryMap map(device_, info_, 0);
    EXPECT_TRUE(map.unmap());
    EXPECT_THAT(kernel_.calls(), IsEmpty());
}

}  // namespace
}  // namespace vdpa::engine::kernel
