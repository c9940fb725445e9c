// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/spin_time.hpp"

#include <gtest/gtest.h>

namespace vdpa::engine::relay {
namespace {

TEST(SpinTimeTest, BeginsShort) {
    EXPECT_EQ(SpinTime().get(), SpinTime::shortest);
}

TEST(SpinTimeTest, GrowsWhilePollingWouldHaveMetTheWorkUpToItsLimit) {
    SpinTime spin;
    Time before = spin.get();
    while (before != SpinTime::longest) {
        spin.woken_after(SpinTime::longest - 1);
        ASSERT_GT(spin.get(), before);
        ASSERT_LE(spin.get(), SpinTime::longest);
        before = spin.get();
    }
    spin.woken_after(0);
    EXPECT_EQ(spin.get(), SpinTime::longest);
}

TEST(SpinTimeTest, IsShortAgainAfterOneLongSleep) {
    SpinTime spin;
    spin.woken_after(1);
    spin.woken_after(1);
    spin.woken_after(SpinTime::longest);
    EXPECT_EQ(spin.get(), SpinTime::shortest);
}

}  // namespace
}  // namespace vdpa::engine::relay
