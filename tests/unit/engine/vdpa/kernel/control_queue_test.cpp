// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/control_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "fake_control_device.hpp"
#include "fake_kernel.hpp"
#include "guest.hpp"

namespace vdpa::engine::kernel {
namespace {

constexpr uint64_t iova = 0x7000;

DeviceInfo device(uint16_t max_ring_size = 256) {
    DeviceInfo info;
    info.path = "/dev/vhost-vdpa-7";
    info.max_ring_size = max_ring_size;
    info.selection = PairSelection::command;
    info.control_ring = 8;
    info.last_iova = UINT64_MAX;
    return info;
}

struct Variant {
    const char *name;
    uint64_t features;
    uint16_t max_ring_size;
};

class ControlQueueTest : public testing::TestWithParam<Variant> {
  protected:
    ControlQueueTest()
        : queue_(
              *ControlQueue::create(device(GetParam().max_ring_size), GetParam().features, iova)),
          ring_(*queue_->ring()),
          device_({ring_.size, ring_.descriptors, ring_.driver_area, ring_.device_area},
                  has(GetParam().features, VIRTIO_F_RING_PACKED), [this](uint64_t address) {
                      EXPECT_GE(address, iova);
                      EXPECT_LT(address, iova + 4096);
                      return reinterpret_cast<void *>(queue_->region().host + (address - iova));
                  }) {}

    std::unique_ptr<ControlQueue> queue_;
    Ring ring_;
    FakeControlDevice device_;
};

TEST_P(ControlQueueTest, AsksAndIsAnsweredOverAndOver) {
    for (uint16_t pairs = 1; pairs <= 50; ++pairs) {
        queue_->ask_for_pairs(pairs);
        EXPECT_EQ(Guest::signals(ring_.kick.get()), 1U);
        EXPECT_EQ(queue_->answer(), ControlQueue::Answer::none);
        const bool refuse = pairs % 3 == 0;
        const auto command = device_.serve(refuse ? VIRTIO_NET_ERR : VIRTIO_NET_OK);
        ASSERT_TRUE(command) << pairs;
        EXPECT_EQ(command->command_class, VIRTIO_NET_CTRL_MQ);
        EXPECT_EQ(command->command, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET);
        EXPECT_EQ(command->pairs, pairs);
        EXPECT_TRUE(device_.interrupt_wanted());
        EXPECT_EQ(queue_->answer(),
                  refuse ? ControlQueue::Answer::refused : ControlQueue::Answer::ok);
        EXPECT_FALSE(device_.serve(VIRTIO_NET_OK)) << "a command twice";
    }
}

TEST_P(ControlQueueTest, IsToldByTheEventfdOfTheRing) {
    EXPECT_EQ(Guest::signals(queue_->answer_fd()), 0U);
    ::eventfd_write(ring_.call.get(), 1);
    queue_->ask_for_pairs(2);
    EXPECT_EQ(queue_->answer(), ControlQueue::Answer::none);  // and the eventfd is as new
    EXPECT_EQ(Guest::signals(queue_->answer_fd()), 0U);
}

TEST_P(ControlQueueTest, FitsTheDevice) {
    EXPECT_EQ(ring_.index, 8U);
    EXPECT_LE(ring_.size, GetParam().max_ring_size);
    EXPECT_EQ(ring_.position,
              has(GetParam().features, VIRTIO_F_RING_PACKED) ? fresh_packed_position : Position{});
    RingRequest same{.index = 8,
                     .size = ring_.size,
                     .descriptors = ring_.descriptors,
                     .driver_area = ring_.driver_area,
                     .device_area = ring_.device_area,
                     .position = {},
                     .kick = ring_.kick.get(),
                     .call = ring_.call.get()};
    const std::vector<Region> page = {
        {.guest = iova, .size = 4096, .host = iova, .page_size = 4096}};
    const auto checked =
        check_ring(device(GetParam().max_ring_size), page, same, GetParam().features);
    EXPECT_TRUE(checked) << checked.error().detail;
}

/* Where guest and control queue share an address space, the guest can write what it likes here. */
TEST_P(ControlQueueTest, SurvivesRubbish) {
    auto *const bytes = reinterpret_cast<uint8_t *>(queue_->region().host);
    for (unsigned value = 0; value < 256; ++value) {
        std::memset(bytes, static_cast<int>(value), 4096);
        const auto answer = queue_->answer();
        EXPECT_TRUE(answer == ControlQueue::Answer::none ||
                    answer == (value == VIRTIO_NET_OK ? ControlQueue::Answer::ok
                                                      : ControlQueue::Answer::refused));
        queue_->ask_for_pairs(3);
    }
}

constexpr uint64_t base = features_of({VIRTIO_F_VERSION_1});
INSTANTIATE_TEST_SUITE_P(
    Rings, ControlQueueTest,
    testing::Values(Variant{"Split", base, 256},
                    Variant{"SplitEventIndex", base | features_of({VIRTIO_RING_F_EVENT_IDX}), 256},
                    Variant{"SplitTiny", base, 2},
                    Variant{"Packed", base | features_of({VIRTIO_F_RING_PACKED}), 256},
                    Variant{"PackedTiny", base | features_of({VIRTIO_F_RING_PACKED}), 2}),
    [](const auto &variant) { return std::string(variant.param.name); });

TEST(FreePageTest, IsTheLowestThatTheGuestDoesNotHave) {
    auto info = device();
    EXPECT_EQ(*free_page(info, {}), 0x1000U);
    EXPECT_EQ(*free_page(info, {{.guest = 0x2000, .size = 0x1000, .host = 0, .page_size = 0}}),
              0x1000U);
    EXPECT_EQ(*free_page(info, {{.guest = 0x3000, .size = 0x1000, .host = 0, .page_size = 0},
                                {.guest = 0, .size = 0x3000, .host = 0, .page_size = 0}}),
              0x4000U);
    info.first_iova = 0x123456;
    EXPECT_EQ(*free_page(info, {}), 0x124000U);
}

TEST(FreePageTest, IsWithinWhatTheDeviceCanAddress) {
    auto info = device();
    info.last_iova = 0x2fff;
    EXPECT_EQ(*free_page(info, {{.guest = 0, .size = 0x2000, .host = 0, .page_size = 0}}), 0x2000U);
    EXPECT_FALSE(free_page(info, {{.guest = 0, .size = 0x3000, .host = 0, .page_size = 0}}));
    info.last_iova = UINT64_MAX;
    const Region all{.guest = 0x1000, .size = UINT64_MAX - 0xfff, .host = 0, .page_size = 0};
    EXPECT_FALSE(free_page(info, {all}));
}

}  // namespace
}  // namespace vdpa::engine::kernel
