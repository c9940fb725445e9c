// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "device_thread_fixture.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(DeviceThreadTest, ServesAFrontEndUntilItGoes) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(kernel_.status(), running);
    EXPECT_EQ(thread_->state().queue_pairs, 1U);
    EXPECT_EQ(thread_->state().fault, std::nullopt);
    kernel_.set_position(0, 12);
    kernel_.set_position(1, 34);
    EXPECT_THAT(thread_->close(), ElementsAre(StoppedRing{0, {12, 12}}, StoppedRing{1, {34, 34}}));
    EXPECT_EQ(kernel_.status(), 0);  // at once; the memory may follow
    ASSERT_TRUE(await(Phase::idle));
    EXPECT_TRUE(eventually([this] { return kernel_.clean(); }));
    EXPECT_TRUE(kernel_.open());
}

TEST_F(DeviceThreadTest, ServesOneFrontEndAfterTheOther) {
    open();
    enable(1);
    for (uint16_t i = 0; i < 50; ++i) {
        const Position position{i, i};
        thread_->configure(guest_.session(info(), split, 1, position));
        ASSERT_TRUE(await(Phase::running)) << i;
        EXPECT_EQ(kernel_.queue(0).base, i);
        EXPECT_THAT(thread_->close(), testing::SizeIs(2));
        if (i % 2 == 0) {
            thread_->forget_front_end();
            enable(1);
        }
    }
}

TEST_F(DeviceThreadTest, EndsWhileADeviceRuns) {
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
}

TEST_F(DeviceThreadTest, SaysWhyAFrontEndIsRefused) {
    open();
    thread_->refuse({schema::Reason::device_failed, "for a reason"});
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_EQ(thread_->state().fault->detail, "for a reason");
    EXPECT_THAT(thread_->close(), IsEmpty());
    ASSERT_TRUE(await(Phase::idle));
    EXPECT_EQ(thread_->state().fault, std::nullopt);
}

TEST_F(DeviceThreadTest, TellsWhereTheRingsStoodOfAFrontEndThatIsRefusedLater) {
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.set_position(1, 8);
    thread_->refuse({schema::Reason::device_failed, "for a reason"});
    EXPECT_EQ(kernel_.status(), 0);
    EXPECT_EQ(thread_->close().at(1), (StoppedRing{1, {8, 8}}));
}

TEST_F(DeviceThreadTest, GivesRunningRingsOtherEventfdsAtOnce) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    Guest other;  // has other eventfds
    thread_->enable_ring(1, false);
    thread_->set_ring(other.ring(info(), split, 1));
    thread_->enable_ring(1, true);
    const int call = other.request(1).call;
    Guest::signals(call);
    EXPECT_TRUE(Guest::same_eventfd(kernel_.queue(1).call, call));
    EXPECT_TRUE(kernel_.queue(1).enabled);
    EXPECT_EQ(kernel_.status(), running);
}

TEST_F(DeviceThreadTest, PassesInterruptsOnToAFrontEndThatIsCalledBySocket) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const UniqueFd guests(ends[0]);
    const UniqueFd given(ends[1]);
    const auto called = [&guests] {
        pollfd fd = {guests.get(), POLLIN, 0};
        uint64_t said = 0;
        return ::poll(&fd, 1, 10000) == 1 && ::read(guests.get(), &said, sizeof(said)) == 8 &&
               said == 1;
    };
    open();
    enable(1);
    Session session = guest_.session(info(), split);
    RingRequest request = guest_.request(1);
    request.call = given.get();
    session.rings[1] = *check_ring(info(), guest_.memory(), request, session.features);
    thread_->configure(std::move(session));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_TRUE(called()) << "what was before, nobody has heard";
    for (int i = 0; i < 3; ++i) {
        kernel_.interrupt(1);
        EXPECT_TRUE(called()) << i;
    }
    // It may change its mind while the ring runs.
    Guest other;
    request.call = other.request(1).call;
    thread_->set_ring(*check_ring(info(), guest_.memory(), request, split));
    EXPECT_TRUE(Guest::same_eventfd(kernel_.queue(1).call, request.call));
}

TEST_F(DeviceThreadTest, ReportsChangesOfTheConfigurationSpace) {
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.change_config(offsetof(virtio_net_config, status), 0);
    kernel_.interrupt_for_config();
    EXPECT_TRUE(await([](const State &state) { return state.config.link_up == false; }));
    EXPECT_EQ(thread_->state().phase, Phase::running);
}

}  // namespace
}  // namespace vdpa::engine::kernel
