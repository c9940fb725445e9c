// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/session.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "fake_kernel.hpp"
#include "guest.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::HasSubstr;

constexpr uint64_t gibibyte = uint64_t{1} << 30;
constexpr uint64_t split = features_of({VIRTIO_F_VERSION_1});
constexpr uint64_t packed = features_of({VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED});

DeviceInfo device() {
    DeviceInfo info;
    info.path = "/dev/vhost-vdpa-7";
    info.max_ring_size = 256;
    info.first_iova = 0;
    info.last_iova = (uint64_t{1} << 48) - 1;
    return info;
}

std::string refusal(const std::vector<Region> &memory, const DeviceInfo &info = device()) {
    const auto checked = check_memory(info, memory, 64 * gibibyte);
    EXPECT_FALSE(checked);
    if (checked) {
        return "";
    }
    EXPECT_EQ(checked.error().reason, schema::Reason::device_failed);
    EXPECT_THAT(checked.error().detail, HasSubstr(info.path));
    return checked.error().detail;
}

TEST(CheckMemoryTest, TakesWhatQemuShares) {
    // Below and above the hole for PCI, in any order, and with other addresses here.
    const std::vector<Region> memory = {
        {.guest = 0x100000000, .size = 30 * gibibyte, .host = 0x7f0080000000, .page_size = 4096},
        {.guest = 0, .size = 0xa0000, .host = 0x7f0000000000, .page_size = 4096},
        {.guest = 0xc0000, .size = 0x7ff40000, .host = 0x7f00000c0000, .page_size = 4096}};
    const auto checked = check_memory(device(), memory, 64 * gibibyte);
    EXPECT_TRUE(checked) << checked.error().detail;
}

TEST(CheckMemoryTest, RefusesNothingAtAll) {
    EXPECT_THAT(refusal({}), HasSubstr("no memory"));
}

TEST(CheckMemoryTest, RefusesRegionsThatOverlap) {
    const Region first{.guest = 0x10000, .size = 0x10000, .host = 0x100000, .page_size = 4096};
    for (const uint64_t guest : {0x1f000U, 0x10000U, 0x1000U}) {
        EXPECT_THAT(
            refusal(
                {first, {.guest = guest, .size = 0x10000, .host = 0x200000, .page_size = 4096}}),
            HasSubstr("overlap"))
            << guest;
    }
}

TEST(CheckMemoryTest, RefusesSizesThatCannotBe) {
    EXPECT_THAT(refusal({{.guest = 0x1000, .size = 0, .host = 0x1000, .page_size = 4096}}),
                HasSubstr("impossible size"));
    EXPECT_THAT(
        refusal({{.guest = UINT64_MAX - 0xfff, .size = 0x2000, .host = 0x1000, .page_size = 4096}}),
        HasSubstr("impossible size"));
    EXPECT_THAT(
        refusal({{.guest = 0x1000, .size = 0x2000, .host = UINT64_MAX - 0xfff, .page_size = 4096}}),
        HasSubstr("impossible size"));
    EXPECT_THAT(refusal({{.guest = 0, .size = UINT64_MAX, .host = 0, .page_size = 4096}}),
                HasSubstr("whole pages"));
}

TEST(CheckMemoryTest, RefusesPartsOfPages) {
    const Region good{.guest = 0x1000, .size = 0x1000, .host = 0x1000, .page_size = 4096};
    for (auto member : {&Region::guest, &Region::size, &Region::host}) {
        Region bad = good;
        bad.*member += 0x800;
        EXPECT_THAT(refusal({bad}), HasSubstr("whole pages"));
    }
}

TEST(CheckMemoryTest, RefusesWhatTheDeviceCannotAddress) {
    auto info = device();
    info.first_iova = 0x100000;
    EXPECT_THAT(refusal({{.guest = 0, .size = 0x1000, .host = 0x1000, .page_size = 4096}}, info),
                HasSubstr("cannot address"));
    EXPECT_THAT(
        refusal({{.guest = uint64_t{1} << 48, .size = 0x1000, .host = 0x1000, .page_size = 4096}}),
        HasSubstr("cannot address"));
    EXPECT_THAT(refusal({{.guest = (uint64_t{1} << 48) - 0x1000,
                          .size = 0x2000,
                          .host = 0x1000,
                          .page_size = 4096}}),
                HasSubstr("cannot address"));
}

TEST(CheckMemoryTest, TakesTheLastPageOfAllButOnce) {
    auto info = device();
    info.last_iova = UINT64_MAX;
    const Region last{
        .guest = UINT64_MAX - 0xfff, .size = 0x1000, .host = 0x1000, .page_size = 4096};
    EXPECT_TRUE(check_memory(info, {last}, gibibyte));
    EXPECT_THAT(refusal({last, last}, info), HasSubstr("overlap"));
}

TEST(CheckMemoryTest, RefusesMoreThanTheHostHas) {
    const std::vector<Region> memory = {
        {.guest = 0, .size = 40 * gibibyte, .host = 0x1000, .page_size = 4096},
        {.guest = 100 * gibibyte, .size = 40 * gibibyte, .host = 0x1000, .page_size = 4096}};
    EXPECT_THAT(refusal(memory), HasSubstr("more memory than this host has"));
    EXPECT_TRUE(check_memory(device(), memory, 80 * gibibyte));
}

class CheckRingTest : public testing::Test {
  protected:
    std::string refusal_of(const RingRequest &request, uint64_t features = split) {
        const auto ring = check_ring(device(), guest_.memory(), request, features);
        EXPECT_FALSE(ring);
        return ring ? "" : ring.error().detail;
    }

    Guest guest_;
};

TEST_F(CheckRingTest, TranslatesAddressesToTheGuests) {
    RingRequest request = guest_.request(1);
    request.position = {.avail = 77, .used = 77};
    const auto ring = check_ring(device(), guest_.memory(), request, split);
    ASSERT_TRUE(ring) << ring.error().detail;
    EXPECT_EQ(ring->index, 1U);
    EXPECT_EQ(ring->size, 256U);
    EXPECT_EQ(ring->descriptors, Guest::base + 0x4000);
    EXPECT_EQ(ring->driver_area, Guest::base + 0x5000);
    EXPECT_EQ(ring->device_area, Guest::base + 0x6000);
    EXPECT_EQ(ring->position.avail, 77);
    guest_.set_used_index(1, 4711);
    ASSERT_NE(ring->used_index, nullptr);
    EXPECT_EQ(*ring->used_index, 4711);
}

TEST_F(CheckRingTest, HasEventfdsOfItsOwn) {
    const RingRequest request = guest_.request(0);
    const auto ring = check_ring(device(), guest_.memory(), request, split);
    ASSERT_TRUE(ring);
    EXPECT_NE(ring->kick.get(), request.kick);
    EXPECT_NE(ring->call.get(), request.call);
    ::eventfd_write(request.kick, 1);
    EXPECT_EQ(Guest::signals(ring->kick.get()), 1U);
    ::eventfd_write(ring->call.get(), 1);
    EXPECT_EQ(Guest::signals(request.call), 1U);
}

TEST_F(CheckRingTest, CallsAFrontEndThatGivesASocketByAnEventfdBetween) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    const UniqueFd guests(ends[0]);
    const UniqueFd given(ends[1]);
    RingRequest request = guest_.request(0);
    request.call = given.get();
    const auto ring = check_ring(device(), guest_.memory(), request, split);
    ASSERT_TRUE(ring) << ring.error().detail;
    EXPECT_TRUE(relay::is_eventfd(ring->call.get()));
    ASSERT_TRUE(ring->relay);
    uint64_t said = 0;
    ring->relay->pass_on();
    EXPECT_EQ(::read(guests.get(), &said, sizeof(said)), -1) << "not called";
    ::eventfd_write(ring->call.get(), 3);
    ring->relay->pass_on();
    EXPECT_EQ(::read(guests.get(), &said, sizeof(said)), 8);
    EXPECT_EQ(said, 1U);
    ring->relay->pass_on();
    EXPECT_EQ(::read(guests.get(), &said, sizeof(said)), -1) << "called once only";
}

TEST_F(CheckRingTest, RefusesToBeKickedOrToCallByAnythingElse) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    const UniqueFd reading(ends[0]);
    const UniqueFd writing(ends[1]);
    RingRequest request = guest_.request(0);
    request.call = writing.get();
    EXPECT_THAT(refusal_of(request), HasSubstr("neither an eventfd nor a socket"));
    request = guest_.request(0);
    request.kick = reading.get();
    EXPECT_THAT(refusal_of(request), HasSubstr("no eventfd to kick ring 0"));
}

TEST(SignalFrontEndTest, NeverWaits) {
    // Blocking, as a front-end may have made it, and full.
    const UniqueFd full(::eventfd(0, EFD_CLOEXEC));
    ASSERT_EQ(::eventfd_write(full.get(), UINT64_MAX - 1), 0);
    signal_front_end(full.get());
    eventfd_t count = 0;
    ASSERT_EQ(::eventfd_read(full.get(), &count), 0);
    EXPECT_TRUE(signal_front_end(full.get()));
    ASSERT_EQ(::eventfd_read(full.get(), &count), 0);
    EXPECT_EQ(count, 1U);
    EXPECT_FALSE(signal_front_end(-1));
}

TEST_F(CheckRingTest, TakesADriverThatPollsButNoDeviceThatWouldHaveTo) {
    RingRequest request = guest_.request(0);
    request.call = -1;
    const auto ring = check_ring(device(), guest_.memory(), request, split);
    ASSERT_TRUE(ring);
    EXPECT_FALSE(ring->call);
    request.kick = -1;
    EXPECT_THAT(refusal_of(request), HasSubstr("no eventfd to kick"));
}

TEST_F(CheckRingTest, RefusesSizesThatTheDeviceDoesNotTake) {
    for (const uint32_t size : {0U, 3U, 255U, 512U, 0x80000000U}) {
        RingRequest request = guest_.request(0);
        request.size = size;
        EXPECT_THAT(refusal_of(request), HasSubstr("at most 256")) << size;
    }
}

TEST_F(CheckRingTest, RefusesRingsThatAreNotInTheMemory) {
    const std::pair<uint64_t RingRequest::*, uint64_t> parts[] = {
        {&RingRequest::descriptors, 16 * 256},
        {&RingRequest::driver_area, 2 * 256 + 4},
        {&RingRequest::device_area, 8 * 256 + 4}};
    for (const auto &[part, size] : parts) {
        for (const uint64_t host :
             {uint64_t{0}, uint64_t{0x10}, guest_.host(0) - 16, guest_.host(Guest::size),
              guest_.host(Guest::size) - (size - size % 16), UINT64_MAX - 15}) {
            RingRequest request = guest_.request(0);
            request.*part = host;
            const uint64_t last = guest_.host(Guest::size) - host;
            if (host >= guest_.host(0) && last >= size) {
                continue;  // it just fits
            }
            EXPECT_THAT(refusal_of(request), HasSubstr("outside of the memory")) << host;
        }
    }
}

TEST_F(CheckRingTest, TakesARingThatEndsWhereTheMemoryDoes) {
    RingRequest request = guest_.request(0);
    request.descriptors = guest_.host(Guest::size - 16 * 256);
    EXPECT_TRUE(check_ring(device(), guest_.memory(), request, split));
    request.descriptors += 16;
    EXPECT_THAT(refusal_of(request), HasSubstr("descriptor table"));
    // The event index makes the two other parts longer (virtio 1.2, 2.7.10).
    request = guest_.request(0);
    request.device_area = guest_.host(Guest::size - (8 * 256 + 4));
    EXPECT_TRUE(check_ring(device(), guest_.memory(), request, split));
    EXPECT_THAT(refusal_of(request, split | features_of({VIRTIO_RING_F_EVENT_IDX})),
                HasSubstr("used ring"));
}

TEST_F(CheckRingTest, RefusesARingAcrossTwoRegions) {
    auto memory = guest_.memory();
    memory[0].size /= 2;
    Region second = memory[0];
    second.guest += memory[0].size + 0x10000000;
    second.host += memory[0].size;
    memory.push_back(second);
    RingRequest request = guest_.request(0);
    request.descriptors = guest_.host(Guest::size / 2 - 0x800);
    EXPECT_FALSE(check_ring(device(), memory, request, split));
}

TEST_F(CheckRingTest, RefusesOddAddresses) {
    RingRequest request = guest_.request(0);
    request.descriptors += 8;
    EXPECT_THAT(refusal_of(request), HasSubstr("odd address"));
    request = guest_.request(0);
    request.driver_area += 1;
    EXPECT_THAT(refusal_of(request), HasSubstr("odd address"));
    request = guest_.request(0);
    request.driver_area += 2;
    EXPECT_TRUE(check_ring(device(), guest_.memory(), request, split));
    EXPECT_THAT(refusal_of(request, packed), HasSubstr("driver event area"));
    request = guest_.request(0);
    request.device_area += 2;
    EXPECT_THAT(refusal_of(request), HasSubstr("odd address"));
}

TEST_F(CheckRingTest, PackedRingsHaveSmallEventAreasAndNoUsedIndex) {
    RingRequest request = guest_.request(0);
    request.driver_area = guest_.host(Guest::size - 8);
    request.device_area = guest_.host(Guest::size - 4);
    const auto ring = check_ring(device(), guest_.memory(), request, packed);
    ASSERT_TRUE(ring) << ring.error().detail;
    EXPECT_EQ(ring->device_area, Guest::base + Guest::size - 4);
    EXPECT_EQ(ring->used_index, nullptr);
}

}  // namespace
}  // namespace vdpa::engine::kernel
