// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "device_thread_fixture.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::IsEmpty;

/* A place where one thread waits until another lets it go on. */
class Gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void pass() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait_for(lock, bound, [this] { return open_; });
    }
    bool await_arrival() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, bound, [this] { return waiting_ > 0; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
    int waiting_ = 0;
};

/* What comes while a guest's memory is being mapped, which takes seconds of a large one. */
class DeviceMappingTest : public DeviceThreadTest {};

TEST_F(DeviceMappingTest, DoesNotHaveTheFrontEndWaitForItsMemory) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    EXPECT_EQ(thread_->state().phase, Phase::starting);
    EXPECT_EQ(thread_->state().queue_pairs, 0U);
    thread_->enable_ring(0, false);
    thread_->enable_ring(0, true);
    gate.open();
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(thread_->state().queue_pairs, 1U);
}

TEST_F(DeviceMappingTest, NeverStartsADeviceWhoseFrontEndHasGoneMeanwhile) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    EXPECT_THAT(thread_->close(), IsEmpty());
    gate.open();
    ASSERT_TRUE(await(Phase::idle));
    EXPECT_TRUE(eventually([this] { return kernel_.clean(); }));
    EXPECT_EQ(calls_named("SET_STATUS 15"), 0U);
}

TEST_F(DeviceMappingTest, MapsTheMemoryOfTheLastFrontEndAndNoOther) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    thread_->close();
    Guest other;
    thread_->configure(other.session(info(), split));
    gate.open();
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(kernel_.mappings().at(Guest::base).address, other.host(0));
    // Also when the first one's was mapped already and nobody had the time to unmap it.
    for (int i = 0; i < 20; ++i) {
        thread_->close();
        Guest &next = i % 2 == 0 ? guest_ : other;
        thread_->configure(next.session(info(), split));
        ASSERT_TRUE(await(Phase::running));
        EXPECT_EQ(kernel_.mappings().at(Guest::base).address, next.host(0));
        EXPECT_EQ(kernel_.mappings().size(), 1U);
    }
}

TEST_F(DeviceMappingTest, EndsWhileMemoryIsBeingMapped) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    auto ended = std::async(std::launch::async, [this] { thread_.reset(); });
    gate.open();
    EXPECT_EQ(ended.wait_for(bound), std::future_status::ready);
}

TEST_F(DeviceMappingTest, LetsGoOfARemovedDeviceInTheMiddleOfMapping) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    thread_->node_removed();
    gate.open();
    ASSERT_TRUE(await(Phase::gone));
    EXPECT_FALSE(kernel_.open());
}

}  // namespace
}  // namespace vdpa::engine::kernel
