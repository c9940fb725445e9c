// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/device_info.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "fake_kernel.hpp"

namespace vdpa::engine::kernel {
namespace {

using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char *path = "/dev/vhost-vdpa-7";

class DeviceInfoTest : public testing::Test {
  protected:
    Expected<DeviceInfo> probe_it() {
        auto device = open_device(kernel_, path);
        return device ? probe(*device) : tl::make_unexpected(device.error());
    }

    /* Four pairs and a control queue, of which each is in a group of its own. */
    void make_multi_queue() {
        kernel_.features |= features_of({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
        kernel_.ring_count = 9;
        kernel_.config[8] = 4;
        kernel_.address_spaces = 2;
        kernel_.groups = {0, 0, 0, 0, 0, 0, 0, 0, 1};
    }

    FakeKernel kernel_;
};

TEST_F(DeviceInfoTest, AsksForEverythingInOrder) {
    const auto info = probe_it();
    ASSERT_TRUE(info) << info.error().detail;
    EXPECT_THAT(kernel_.calls(),
                ElementsAre("open /dev/vhost-vdpa-7", "SET_OWNER", "GET_DEVICE_ID", "GET_FEATURES",
                            "GET_BACKEND_FEATURES", "SET_BACKEND_FEATURES 0x11e", "GET_VQS_COUNT",
                            "GET_VRING_NUM", "GET_CONFIG_SIZE", "GET_CONFIG", "GET_IOVA_RANGE",
                            "GET_VRING_BASE 0", "close"));
    EXPECT_EQ(info->path, path);
    EXPECT_EQ(info->features, kernel_.features);
    EXPECT_EQ(info->ring_count, 3U);
    EXPECT_EQ(info->max_ring_size, 256);
    EXPECT_EQ(info->queue_pairs, 1U);
    EXPECT_EQ(info->selection, PairSelection::none);
    EXPECT_EQ(info->last_iova, UINT64_MAX);
    EXPECT_TRUE(info->ring_state);
    EXPECT_EQ(info->config.mac, (std::array<uint8_t, 6>{0x52, 0x54, 0, 1, 2, 3}));
    EXPECT_EQ(info->config.mtu, 1500);
    EXPECT_EQ(info->config.link_up, true);
}

TEST_F(DeviceInfoTest, NamesTheCallThatFails) {
    make_multi_queue();
    ASSERT_TRUE(probe_it());
    const size_t count = kernel_.call_count() - 1;  // but for the close
    for (size_t i = 1; i < count; ++i) {
        kernel_.forget_calls();
        kernel_.fail_after(i, EIO);
        const auto info = probe_it();
        const std::string failed = kernel_.calls().at(i);
        if (failed.starts_with("GET_VRING_BASE")) {
            ASSERT_TRUE(info);
            EXPECT_FALSE(info->ring_state);
        } else {
            ASSERT_FALSE(info) << failed;
            EXPECT_EQ(info.error().reason, Reason::device_failed);
            EXPECT_THAT(info.error().detail, HasSubstr(failed.substr(0, failed.find(' '))));
            EXPECT_THAT(info.error().detail, HasSubstr(path));
        }
        EXPECT_FALSE(kernel_.open()) << failed;
    }
}

TEST_F(DeviceInfoTest, SaysWhyTheDeviceDoesNotOpen) {
    const std::pair<int, Reason> cases[] = {
        {ENOENT, Reason::device_missing}, {ENXIO, Reason::device_missing},
        {ENODEV, Reason::device_missing}, {EBUSY, Reason::device_busy},
        {524, Reason::kernel_lacks},      {EACCES, Reason::device_failed},
    };
    for (const auto &[error, reason] : cases) {
        kernel_.fail_after(0, error);
        const auto device = open_device(kernel_, path);
        ASSERT_FALSE(device);
        EXPECT_EQ(device.error().reason, reason) << error;
        EXPECT_THAT(device.error().detail, HasSubstr(path));
    }
}

TEST_F(DeviceInfoTest, RefusesADeviceThatCannotBeConfined) {
    kernel_.features &= ~features_of({VIRTIO_F_ACCESS_PLATFORM});
    const auto info = probe_it();
    ASSERT_FALSE(info);
    EXPECT_THAT(info.error().detail, HasSubstr("ACCESS_PLATFORM"));
}

TEST_F(DeviceInfoTest, RefusesADeviceOfAnotherType) {
    kernel_.device_id = VIRTIO_ID_BLOCK;
    const auto info = probe_it();
    ASSERT_FALSE(info);
    EXPECT_THAT(info.error().detail, HasSubstr("not a network device"));
}

TEST_F(DeviceInfoTest, AgreesOnTheBackendFeaturesThatItUses) {
    kernel_.backend_features =
        bit(BackendFeature::iotlb_msg_v2) | uint64_t{1} << 5 | uint64_t{1} << 7 | uint64_t{1} << 40;
    const auto info = probe_it();
    ASSERT_TRUE(info);
    EXPECT_EQ(info->backend_features, bit(BackendFeature::iotlb_msg_v2));

    kernel_.backend_features = 0;
    EXPECT_EQ(probe_it().error().reason, Reason::kernel_lacks);
}

TEST_F(DeviceInfoTest, TrustsNoRingPositionOfADeviceThatCannotBeSuspended) {
    kernel_.backend_features &= ~bit(BackendFeature::suspend);
    EXPECT_FALSE(probe_it()->ring_state);
    kernel_.backend_features |= bit(BackendFeature::suspend);
    kernel_.tells_ring_state = false;
    EXPECT_FALSE(probe_it()->ring_state);
}

TEST_F(DeviceInfoTest, FindsQueuePairsAndTheControlQueue) {
    make_multi_queue();
    const auto info = probe_it();
    ASSERT_TRUE(info);
    EXPECT_EQ(info->queue_pairs, 4U);
    EXPECT_EQ(info->selection, PairSelection::command);
    EXPECT_EQ(info->control_ring, 8U);
    EXPECT_EQ(info->control_group, 1U);
}

TEST_F(DeviceInfoTest, GivesTheControlQueueNoSpaceOfItsOwnWhereItCannotBeApart) {
    make_multi_queue();
    kernel_.groups[8] = 0;
    EXPECT_EQ(probe_it()->control_group, std::nullopt);

    make_multi_queue();
    kernel_.address_spaces = 1;
    EXPECT_EQ(probe_it()->control_group, std::nullopt);

    make_multi_queue();
    kernel_.backend_features &= ~bit(BackendFeature::iotlb_asid);
    EXPECT_EQ(probe_it()->control_group, std::nullopt);
}

TEST_F(DeviceInfoTest, BelievesInNoMoreQueuePairsThanThereAreRings) {
    make_multi_queue();
    kernel_.config[9] = 1;  // 260 pairs
    const auto info = probe_it();
    EXPECT_EQ(info->queue_pairs, 1U);
    EXPECT_EQ(info->selection, PairSelection::none);
}

TEST_F(DeviceInfoTest, TakesADeviceWithoutControlQueueByItsEnabledRings) {
    make_multi_queue();
    kernel_.features &= ~features_of({VIRTIO_NET_F_CTRL_VQ});
    kernel_.ring_count = 8;
    const auto info = probe_it();
    EXPECT_EQ(info->queue_pairs, 4U);
    EXPECT_EQ(info->selection, PairSelection::enable);
}

TEST_F(DeviceInfoTest, ReadsNothingFromTheConfigurationSpaceThatTheDeviceDoesNotOffer) {
    kernel_.features &= ~features_of({VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS});
    const auto info = probe_it();
    EXPECT_EQ(info->config.mac, std::nullopt);
    EXPECT_EQ(info->config.mtu, std::nullopt);
    EXPECT_EQ(info->config.link_up, std::nullopt);
}

}  // namespace
}  // namespace vdpa::engine::kernel
