// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/vdpa/kernel/device_thread.hpp"
#include "fake_kernel.hpp"
#include "guest.hpp"

namespace vdpa::engine::kernel {

/* The longest that a test waits for something. */
inline constexpr std::chrono::seconds bound{20};
inline constexpr const char *path = "/dev/vhost-vdpa-7";
/* What a front-end acknowledges. */
inline constexpr uint64_t split = features_of({VIRTIO_F_VERSION_1});
/* The status of a device that runs: ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK. */
inline constexpr uint8_t running = 15;

/* A device's thread on a kernel that is played, and the states that it reports. At the end nothing
 * of it may be left in the kernel. */
class DeviceThreadTest : public testing::Test {
  protected:
    void TearDown() override {
        thread_.reset();
        EXPECT_TRUE(kernel_.clean());
        EXPECT_FALSE(kernel_.open());
    }

    void open() {
        auto device = open_device(kernel_, path);
        ASSERT_TRUE(device);
        auto info = probe(*device);
        ASSERT_TRUE(info);
        auto thread =
            DeviceThread::create(std::move(*device), std::move(*info), [this](const State &state) {
                const std::lock_guard lock(mutex_);
                states_.push_back(state);
                changed_.notify_all();
            });
        ASSERT_TRUE(thread);
        thread_ = std::move(*thread);
        kernel_.forget_calls();
    }

    const DeviceInfo &info() const { return thread_->info(); }

    void enable(uint32_t pairs, bool on = true) {
        for (uint32_t ring = 0; ring < 2 * pairs; ++ring) {
            thread_->enable_ring(ring, on);
        }
    }

    /* Waits for a state that was reported since the last call. */
    bool await(const std::function<bool(const State &)> &wanted) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, bound, [&] {
            while (seen_ < states_.size()) {
                if (wanted(states_[seen_++])) {
                    return true;
                }
            }
            return false;
        });
    }
    bool await(Phase phase) {
        return await([phase](const State &state) { return state.phase == phase; });
    }
    /* Waits for a condition that is not reported. */
    static bool eventually(const std::function<bool()> &condition) {
        const auto end = std::chrono::steady_clock::now() + bound;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }

    size_t calls_named(const std::string &name) const {
        const auto calls = kernel_.calls();
        return static_cast<size_t>(
            std::count_if(calls.begin(), calls.end(),
                          [&name](const std::string &call) { return call.starts_with(name); }));
    }

    FakeKernel kernel_;
    Guest guest_;
    std::unique_ptr<DeviceThread> thread_;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<State> states_;
    size_t seen_ = 0;
};

}  // namespace vdpa::engine::kernel
