// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/driver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.hpp"
#include "guest.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr uint64_t split = features_of({VIRTIO_F_VERSION_1});
constexpr uint64_t packed = features_of({VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED});
constexpr uint64_t multi_queue =
    features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});

/* Status: ACKNOWLEDGE 1, DRIVER 2, DRIVER_OK 4, FEATURES_OK 8 (virtio 1.2, 2.1). */
constexpr uint8_t running = 15;

class DriverTest : public testing::Test {
  protected:
    void open() {
        device_.emplace(*open_device(kernel_, "/dev/vhost-vdpa-7"));
        info_ = *probe(*device_);
        driver_ = std::make_unique<Driver>(*device_, info_);
        kernel_.forget_calls();
    }

    void make_multi_queue(uint32_t spaces) {
        kernel_.features |= features_of({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
        kernel_.ring_count = 9;
        kernel_.config[8] = 4;
        kernel_.address_spaces = spaces;
        kernel_.groups = {0, 0, 0, 0, 0, 0, 0, 0, 1};
    }

    Expected<void> start(const Session &session) {
        if (auto negotiated = driver_->negotiate(session.features); !negotiated) {
            return negotiated;
        }
        if (auto mapped = driver_->map(session.memory, going_on_); !mapped) {
            return tl::make_unexpected(mapped.error());
        }
        return driver_->start(session, config_call_.get());
    }

    FakeKernel kernel_;
    Guest guest_;
    std::optional<VhostVdpa> device_;
    DeviceInfo info_;
    std::unique_ptr<Driver> driver_;
    const UniqueFd config_call_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    const Cancellation going_on_;
};

TEST_F(DriverTest, BringsTheDeviceToLifeInTheOrderOfVirtio) {
    open();
    const auto session = guest_.session(info_, split, 1, {.avail = 5, .used = 5});
    const auto started = start(session);
    ASSERT_TRUE(started) << started.error().detail;
    EXPECT_THAT(
        kernel_.calls(),
        ElementsAre("SET_STATUS 0", "SET_STATUS 3", "GET_STATUS", "SET_FEATURES 0x300000000",
                    "SET_STATUS 11", "GET_STATUS",  //
                    "BATCH_BEGIN 0", "MAP 0 0x40000000 0x100000", "BATCH_END 0",
                    "SET_VRING_NUM 0 256", "SET_VRING_BASE 0 0x5", "SET_VRING_ADDR 0 0x40000000",
                    "SET_VRING_CALL 0 fd", "SET_VRING_NUM 1 256", "SET_VRING_BASE 1 0x5",
                    "SET_VRING_ADDR 1 0x40004000", "SET_VRING_CALL 1 fd", "SET_CONFIG_CALL fd",
                    "SET_VRING_ENABLE 0 1", "SET_VRING_ENABLE 1 1", "SET_STATUS 15",
                    "GET_STATUS",  //
                    "SET_VRING_KICK 0 fd", "SET_VRING_KICK 1 fd"));
    EXPECT_EQ(kernel_.status(), running);
    EXPECT_EQ(kernel_.driver_features(),
              features_of({VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM}));
    const auto transmit = kernel_.queue(1);
    EXPECT_EQ(transmit.desc, Guest::base + 0x4000);
    EXPECT_EQ(transmit.avail, Guest::base + 0x5000);
    EXPECT_EQ(transmit.used, Guest::base + 0x6000);
    // Buffers that were made available before, and those that were used, are looked for once.
    for (const Ring &ring : session.rings) {
        EXPECT_EQ(Guest::signals(ring.kick.get()), 1U);
        EXPECT_EQ(Guest::signals(ring.call.get()), 1U);
    }
    EXPECT_TRUE(Guest::same_eventfd(session.rings[1].kick.get(), transmit.kick));
    EXPECT_TRUE(Guest::same_eventfd(transmit.call, session.rings[1].call.get()));
    EXPECT_TRUE(Guest::same_eventfd(kernel_.config_call(), config_call_.get()));
}

TEST_F(DriverTest, StopsTheDeviceAndSaysWhereItsRingsStand) {
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    kernel_.set_position(0, 300);
    kernel_.set_position(1, 65535);
    kernel_.forget_calls();
    EXPECT_THAT(driver_->stop(),
                ElementsAre(StoppedRing{0, {300, 300}}, StoppedRing{1, {65535, 65535}}));
    EXPECT_THAT(kernel_.calls(), ElementsAre("SET_VRING_KICK 0 none", "SET_VRING_KICK 1 none",
                                             "SUSPEND", "GET_VRING_BASE 0", "GET_VRING_BASE 1",
                                             "SET_STATUS 0", "SET_VRING_CALL 0 none",
                                             "SET_VRING_CALL 1 none", "SET_CONFIG_CALL none"));
    EXPECT_FALSE(driver_->live());
    EXPECT_TRUE(driver_->mapped());
    kernel_.forget_calls();
    driver_->unmap();
    EXPECT_THAT(kernel_.calls(),
                ElementsAre("BATCH_BEGIN 0", "UNMAP 0 0x40000000 0x100000", "BATCH_END 0"));
    EXPECT_TRUE(kernel_.clean());
    EXPECT_TRUE(kernel_.open());
}

TEST_F(DriverTest, StartsAgainOnWhatIsMapped) {
    open();
    EXPECT_TRUE(driver_->keeps_map());
    ASSERT_TRUE(start(guest_.session(info_, split)));
    driver_->stop();
    kernel_.forget_calls();
    const auto session = guest_.session(info_, split);
    ASSERT_TRUE(driver_->negotiate(session.features));
    ASSERT_TRUE(driver_->start(session, config_call_.get()));
    EXPECT_THAT(kernel_.calls(), Each(testing::Not(StartsWith("MAP"))));
    EXPECT_EQ(kernel_.status(), running);
    EXPECT_EQ(kernel_.mappings().size(), 1U);
}

TEST_F(DriverTest, KnowsThatOldKernelsForgetWhatIsMappedWithAReset) {
    kernel_.backend_features &= ~bit(BackendFeature::iotlb_persist);
    open();
    EXPECT_FALSE(driver_->keeps_map());
}

TEST_F(DriverTest, PackedRingsHaveTwoPositionsWithWrapCounters) {
    open();
    ASSERT_TRUE(start(guest_.session(info_, packed, 1, {.avail = 0x8003, .used = 0x8001})));
    EXPECT_EQ(kernel_.queue(0).base, 0x80018003U);
    kernel_.set_position(0, 0x00058006);
    EXPECT_EQ(driver_->stop().at(0), (StoppedRing{0, {.avail = 0x8006, .used = 0x0005}}));
}

TEST_F(DriverTest, WithoutAPositionFromTheDeviceAsksTheGuestsMemory) {
    kernel_.tells_ring_state = false;
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    guest_.set_used_index(0, 17);
    guest_.set_used_index(1, 4);
    kernel_.forget_calls();
    EXPECT_THAT(driver_->stop(), ElementsAre(StoppedRing{0, {17, 17}}, StoppedRing{1, {4, 4}}));
    EXPECT_THAT(kernel_.calls(),
                Each(testing::Not(AnyOf(StartsWith("GET_VRING_BASE"), StartsWith("SUSPEND")))));
}

TEST_F(DriverTest, WithoutAPositionFromTheDeviceKnowsNoneOfAPackedRing) {
    kernel_.backend_features &= ~bit(BackendFeature::suspend);
    open();
    ASSERT_TRUE(start(guest_.session(info_, packed, 1, fresh_packed_position)));
    EXPECT_THAT(driver_->stop(),
                ElementsAre(StoppedRing{0, unknown_position}, StoppedRing{1, unknown_position}));
    driver_->unmap();
    // And says so when the front-end goes on from there.
    const auto started = start(guest_.session(info_, packed, 1, unknown_position));
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().reason, schema::Reason::no_ring_state);
    driver_->stop();
    driver_->unmap();
    EXPECT_TRUE(kernel_.clean());
}

TEST_F(DriverTest, SaysThatADeviceTakesFreshRingsOnly) {
    kernel_.tells_ring_state = false;
    kernel_.takes_only_fresh_rings = true;
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    driver_->stop();
    driver_->unmap();
    const auto started = start(guest_.session(info_, split, 1, {.avail = 9, .used = 9}));
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().reason, schema::Reason::no_ring_state);
    EXPECT_THAT(started.error().detail, HasSubstr("fresh"));
    driver_->stop();
    driver_->unmap();
    ASSERT_TRUE(start(guest_.session(info_, packed, 1, fresh_packed_position)));
}

TEST_F(DriverTest, RefusesFeaturesThatTheDeviceRefuses) {
    kernel_.refused_status = VIRTIO_CONFIG_S_FEATURES_OK;
    open();
    const auto negotiated = driver_->negotiate(split);
    ASSERT_FALSE(negotiated);
    EXPECT_THAT(negotiated.error().detail, HasSubstr("refuses the features"));
}

TEST_F(DriverTest, DoesNotTakeADeviceForRunningThatIsNot) {
    kernel_.refused_status = VIRTIO_CONFIG_S_DRIVER_OK;
    open();
    const auto started = start(guest_.session(info_, split));
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().detail, HasSubstr("device status is 11 instead of 15"));
    EXPECT_THAT(kernel_.calls(), Each(testing::Not(StartsWith("SET_VRING_KICK"))));
}

TEST_F(DriverTest, SeesThatADeviceHasGivenUp) {
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    EXPECT_FALSE(*driver_->needs_reset());
    kernel_.set_status(running | VIRTIO_CONFIG_S_NEEDS_RESET);
    EXPECT_TRUE(*driver_->needs_reset());
}

TEST_F(DriverTest, GivesARunningRingOtherEventfds) {
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    kernel_.forget_calls();
    Guest other;  // has other eventfds
    Ring ring = other.ring(info_, split, 0);
    ASSERT_TRUE(driver_->connect_ring(ring));
    EXPECT_THAT(kernel_.calls(), ElementsAre("SET_VRING_CALL 0 fd", "SET_VRING_KICK 0 fd"));
    EXPECT_EQ(Guest::signals(ring.kick.get()), 1U);
    EXPECT_EQ(Guest::signals(ring.call.get()), 1U);
    EXPECT_TRUE(Guest::same_eventfd(kernel_.queue(0).call, ring.call.get()));
    EXPECT_TRUE(Guest::same_eventfd(ring.kick.get(), kernel_.queue(0).kick));

    ring.call.reset();  // the driver polls from now on
    ASSERT_TRUE(driver_->connect_ring(ring));
    EXPECT_EQ(kernel_.queue(0).call, -1);
}

TEST_F(DriverTest, HasAControlQueueOfItsOwnInAnAddressSpaceOfItsOwn) {
    make_multi_queue(2);
    open();
    EXPECT_EQ(driver_->control_queue(), nullptr);
    const auto session = guest_.session(info_, multi_queue, 4);
    ASSERT_TRUE(start(session));
    EXPECT_EQ(kernel_.space_of_group(1), 1U);
    EXPECT_THAT(kernel_.mappings(0), ElementsAre(testing::Key(Guest::base)));
    EXPECT_THAT(kernel_.mappings(1), ElementsAre(testing::Key(0x1000)));
    EXPECT_TRUE(kernel_.queue(8).enabled);
    EXPECT_EQ(kernel_.queue(8).desc, 0x1000U);
    ASSERT_NE(driver_->control_queue(), nullptr);
    // Its eventfds are those that the kernel has.
    driver_->control_queue()->ask_for_pairs(2);
    EXPECT_EQ(Guest::signals(kernel_.queue(8).kick), 2U);  // once to begin with
    EXPECT_EQ(driver_->stop().size(), 8U);                 // those of the guest
    EXPECT_THAT(kernel_.mappings(1), IsEmpty());
    EXPECT_EQ(driver_->control_queue(), nullptr);
    driver_->unmap();
    EXPECT_TRUE(kernel_.clean());
}

TEST_F(DriverTest, PutsItsControlQueueBesideTheGuestsMemoryIfItMust) {
    make_multi_queue(1);
    open();
    ASSERT_TRUE(start(guest_.session(info_, multi_queue, 4)));
    EXPECT_THAT(kernel_.mappings(0), ElementsAre(testing::Key(0x1000), testing::Key(Guest::base)));
    driver_->stop();
    EXPECT_THAT(kernel_.mappings(0), ElementsAre(testing::Key(Guest::base)));
}

TEST_F(DriverTest, HasNoControlQueueForAGuestWithoutMultiQueue) {
    make_multi_queue(2);
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    EXPECT_EQ(driver_->control_queue(), nullptr);
    EXPECT_EQ(kernel_.queue(8), FakeKernel::Queue{});
}

TEST_F(DriverTest, EnablesWhatTheFrontEndHasEnabledWhereThatSaysWhichPairsAreInUse) {
    kernel_.features |= features_of({VIRTIO_NET_F_MQ});
    kernel_.ring_count = 8;
    kernel_.config[8] = 4;
    open();
    auto session = guest_.session(info_, multi_queue, 2);
    session.rings[2].enabled = session.rings[3].enabled = false;
    ASSERT_TRUE(start(session));
    EXPECT_TRUE(kernel_.queue(1).enabled);
    EXPECT_FALSE(kernel_.queue(2).enabled);
    ASSERT_TRUE(driver_->enable_ring(2, true));
    EXPECT_TRUE(kernel_.queue(2).enabled);
}

TEST_F(DriverTest, ClosesADeviceThatCannotBeReset) {
    open();
    ASSERT_TRUE(start(guest_.session(info_, split)));
    kernel_.fail("SET_STATUS", EIO);
    driver_->stop();
    EXPECT_TRUE(driver_->broken());
    EXPECT_FALSE(kernel_.open());
    EXPECT_FALSE(driver_->mapped());
    EXPECT_FALSE(driver_->negotiate(split));
}

/* Every call of a life with everything in it fails once: what was done until then is undone. */
class EachCallFailsTest : public DriverTest, public testing::WithParamInterface<uint64_t> {};

TEST_P(EachCallFailsTest, AndNothingIsLeftBehind) {
    make_multi_queue(2);
    const auto live = [this] {
        const auto session = guest_.session(info_, GetParam(), 4, {});
        auto started = start(session);
        if (started) {
            started = driver_->connect_ring(session.rings[0]);
        }
        driver_->stop();
        driver_->unmap();
        return started;
    };
    open();
    ASSERT_TRUE(live());
    const size_t count = kernel_.call_count();
    ASSERT_GT(count, 60U);
    for (size_t i = 0; i < count; ++i) {
        device_.reset();
        open();
        kernel_.fail_after(i);
        const auto result = live();
        const std::string failed = kernel_.calls().at(i);
        EXPECT_TRUE(kernel_.clean()) << failed;
        EXPECT_FALSE(driver_->live()) << failed;
        if (!result) {
            EXPECT_THAT(result.error().detail, StartsWith("/dev/vhost-vdpa-7")) << failed;
            if (!driver_->broken()) {
                EXPECT_THAT(result.error().detail,
                            HasSubstr(failed.substr(0, failed.find(' '))
                                          .substr(failed.starts_with("MAP") ? 3 : 0)))
                    << failed;
            }
        }
        // And it can be used again.
        if (driver_->broken()) {
            EXPECT_FALSE(kernel_.open()) << failed;
            open();
        }
        EXPECT_TRUE(live()) << failed;
        EXPECT_TRUE(kernel_.clean()) << failed;
    }
}

INSTANTIATE_TEST_SUITE_P(Features, EachCallFailsTest, testing::Values(split, multi_queue));

}  // namespace
}  // namespace vdpa::engine::kernel
