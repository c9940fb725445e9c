// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/features.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.hpp"

namespace vdpa::engine::kernel {
namespace {

DeviceInfo device(PairSelection selection, std::initializer_list<unsigned> more = {}) {
    DeviceInfo info;
    info.features = features_of({VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED,
                                 VIRTIO_NET_F_MRG_RXBUF}) |
                    features_of(more);
    info.selection = selection;
    info.queue_pairs = selection == PairSelection::none ? 1 : 4;
    return info;
}

TEST(FeaturesTest, OffersWhatNeedsNoWordBetweenTheGuestAndTheDevice) {
    const auto info = device(PairSelection::none,
                             {VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN,
                              VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
                              VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT, VIRTIO_F_RING_RESET,
                              38 /* NOTIFICATION_DATA */, VIRTIO_F_SR_IOV, VHOST_F_LOG_ALL});
    EXPECT_EQ(offered_features(info),
              features_of({VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF,
                           vhost_user_f_protocol_features}));
}

TEST(FeaturesTest, OffersNothingThatTheDeviceDoesNotHave) {
    const auto info = device(PairSelection::none);
    EXPECT_EQ(offered_features(info) & ~info.features,
              features_of({vhost_user_f_protocol_features}));
}

TEST(FeaturesTest, OffersMultiQueueWithTheControlQueueThatFrontEndsServe) {
    for (const auto selection : {PairSelection::command, PairSelection::enable}) {
        const uint64_t offered = offered_features(device(selection, {VIRTIO_NET_F_MQ}));
        EXPECT_TRUE(has(offered, VIRTIO_NET_F_MQ));
        EXPECT_TRUE(has(offered, VIRTIO_NET_F_CTRL_VQ));
    }
}

TEST(FeaturesTest, OffersNoLogOfDirtyPagesByWhicheverWay) {
    constexpr unsigned log_shmfd = 1;
    EXPECT_FALSE(has(offered_protocol_features(), log_shmfd));
    EXPECT_FALSE(
        has(offered_features(device(PairSelection::none, {VHOST_F_LOG_ALL})), VHOST_F_LOG_ALL));
}

TEST(FeaturesTest, TellsTheDeviceThatAnIommuIsInBetweenAndNotWhatIsVhostUsers) {
    const auto info = device(PairSelection::none);
    const auto features = features_for_device(
        info,
        features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, vhost_user_f_protocol_features}));
    ASSERT_TRUE(features);
    EXPECT_EQ(*features,
              features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_ACCESS_PLATFORM}));
}

TEST(FeaturesTest, TellsTheDeviceOfMultiQueueAsItCanBeTold) {
    const uint64_t chosen =
        features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
    const uint64_t always = features_of({VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM});
    EXPECT_EQ(*features_for_device(device(PairSelection::command), chosen),
              always | features_of({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ}));
    EXPECT_EQ(*features_for_device(device(PairSelection::enable), chosen),
              always | features_of({VIRTIO_NET_F_MQ}));
    EXPECT_EQ(*features_for_device(device(PairSelection::none), chosen), always);
    // Not chosen by the guest.
    EXPECT_EQ(
        *features_for_device(device(PairSelection::command), features_of({VIRTIO_F_VERSION_1})),
        always);
}

TEST(FeaturesTest, RefusesALegacyDriver) {
    const auto features =
        features_for_device(device(PairSelection::none), features_of({VIRTIO_NET_F_MRG_RXBUF}));
    ASSERT_FALSE(features);
    EXPECT_THAT(features.error().detail, testing::HasSubstr("legacy"));
}

}  // namespace
}  // namespace vdpa::engine::kernel
