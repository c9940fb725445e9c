// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device_thread_fixture.hpp"

namespace vdpa::engine::kernel {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/* A device that refuses, breaks or goes away: what is said of it, and when it is tried again. */
class DeviceFaultsTest : public DeviceThreadTest {};

TEST_F(DeviceFaultsTest, SaysWhyItCannotAndTriesAgain) {
    kernel_.fail("MAP", EFAULT);
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::failed));
    const State state = thread_->state();
    ASSERT_TRUE(state.fault);
    EXPECT_EQ(state.fault->reason, schema::Reason::device_failed);
    EXPECT_THAT(state.fault->detail, HasSubstr(path));
    EXPECT_EQ(state.queue_pairs, 0U);
    EXPECT_TRUE(eventually([this] { return calls_named("MAP") >= 2; }));
    EXPECT_EQ(thread_->state().phase, Phase::failed);  // not starting, failed, starting, ...
    kernel_.fail("MAP", 0);
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(thread_->state().fault, std::nullopt);
}

TEST_F(DeviceFaultsTest, WaitsLongerBeforeEachFurtherAttempt) {
    kernel_.fail("SET_FEATURES", EINVAL);
    open();
    const auto begin = std::chrono::steady_clock::now();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(eventually([this] { return calls_named("SET_FEATURES") == 4; }));
    // 100, 200 and 400 ms.
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 700ms);
}

TEST_F(DeviceFaultsTest, DoesNotTryAgainWhatCannotSucceed) {
    kernel_.tells_ring_state = false;
    kernel_.takes_only_fresh_rings = true;
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split, 1, {.avail = 3, .used = 3}));
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_EQ(thread_->state().fault->reason, schema::Reason::no_ring_state);
    const size_t attempts = calls_named("SET_FEATURES");
    // Until the guest begins anew.
    thread_->close();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(calls_named("SET_FEATURES"), attempts + 1);
    EXPECT_EQ(attempts, 1U);
}

TEST_F(DeviceFaultsTest, LetsGoOfADeviceWhoseNodeIsRemoved) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.set_position(0, 5);
    thread_->node_removed();
    ASSERT_TRUE(await(Phase::gone));
    EXPECT_FALSE(kernel_.open());
    const State state = thread_->state();
    ASSERT_TRUE(state.fault);
    EXPECT_EQ(state.fault->reason, schema::Reason::device_missing);
    EXPECT_EQ(state.queue_pairs, 0U);
    // The front-end does not know yet, and is told the truth.
    EXPECT_EQ(thread_->close().at(0), (StoppedRing{0, {5, 5}}));
    thread_->configure(guest_.session(info(), split));
    thread_->close();
    EXPECT_EQ(thread_->state().phase, Phase::gone);
    EXPECT_EQ(calls_named("open"), 0U);
}

TEST_F(DeviceFaultsTest, ResetsADeviceThatAsksForItAndGoesOnWhereItStood) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.set_position(0, 77);
    kernel_.set_status(running | VIRTIO_CONFIG_S_NEEDS_RESET);
    kernel_.interrupt_for_config();
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_THAT(thread_->state().fault->detail, HasSubstr("needs a reset"));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(kernel_.status(), running);
    EXPECT_EQ(kernel_.queue(0).base, 77U);
}

TEST_F(DeviceFaultsTest, OpensADeviceAgainThatHadToBeClosed) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.fail("SET_STATUS", EIO);
    thread_->close();
    EXPECT_FALSE(kernel_.open());
    kernel_.fail("SET_STATUS", 0);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_TRUE(kernel_.open());
}

TEST_F(DeviceFaultsTest, TakesNoOtherDeviceForTheOneThatItHadToClose) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.fail("SET_STATUS", EIO);
    thread_->close();
    kernel_.fail("SET_STATUS", 0);
    kernel_.features &= ~features_of({VIRTIO_NET_F_MTU});
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_THAT(thread_->state().fault->detail, HasSubstr("another device"));
    EXPECT_FALSE(kernel_.open());
}

}  // namespace
}  // namespace vdpa::engine::kernel
