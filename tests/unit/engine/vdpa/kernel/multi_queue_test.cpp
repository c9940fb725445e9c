// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device_thread_fixture.hpp"
#include "fake_control_device.hpp"

namespace vdpa::engine::kernel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t multi_queue =
    features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});

/* The device's side of the control queue: answers in a thread of its own. */
class MultiQueueTest : public DeviceThreadTest {
  protected:
    MultiQueueTest() {
        kernel_.features |= features_of({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
        kernel_.ring_count = 9;
        kernel_.config[8] = 4;
        kernel_.address_spaces = 2;
        kernel_.groups = {0, 0, 0, 0, 0, 0, 0, 0, 1};
        open();
    }

    /* Answers commands until one asks for `pairs`; false: that took too long. */
    bool serve_until(uint16_t pairs, uint8_t answer = VIRTIO_NET_OK) {
        return eventually([&] {
            const auto queue = kernel_.queue(info().control_ring);
            const auto page = kernel_.mappings(1);
            if (queue.kick < 0 || page.empty()) {
                return false;
            }
            if (!control_ || queue.desc != control_page_) {
                control_page_ = queue.desc;
                control_ = std::make_unique<FakeControlDevice>(
                    FakeControlDevice::Addresses{queue.num, queue.desc, queue.avail, queue.used},
                    false, [this](uint64_t address) {
                        const auto space = kernel_.mappings(1);
                        const auto &[iova, mapping] = *space.begin();
                        return reinterpret_cast<void *>(mapping.address + (address - iova));
                    });
            }
            const auto command = control_->serve(answer);
            if (command) {
                asked_.push_back(command->pairs);
                kernel_.interrupt(info().control_ring);
            }
            return command && command->pairs == pairs;
        });
    }
    void new_control_queue() { control_.reset(); }

    std::vector<uint16_t> asked_;

  private:
    std::unique_ptr<FakeControlDevice> control_;
    uint64_t control_page_ = 0;
};

TEST_F(MultiQueueTest, HasTheDeviceUseThePairsThatTheFrontEndHasEnabled) {
    enable(3);
    thread_->configure(guest_.session(info(), multi_queue, 4));
    ASSERT_TRUE(serve_until(3));
    EXPECT_TRUE(await([](const State &state) { return state.queue_pairs == 3; }));
    enable(4);
    ASSERT_TRUE(serve_until(4));
    EXPECT_TRUE(await([](const State &state) { return state.queue_pairs == 4; }));
    thread_->enable_ring(4, false);
    ASSERT_TRUE(serve_until(2));
    EXPECT_TRUE(await([](const State &state) { return state.queue_pairs == 2; }));
    EXPECT_EQ(thread_->state().phase, Phase::running);
}

TEST_F(MultiQueueTest, DoesNotBotherTheDeviceWithRingsThatOnlyGetOtherEventfds) {
    enable(4);
    thread_->configure(guest_.session(info(), multi_queue, 4));
    ASSERT_TRUE(serve_until(4));
    ASSERT_TRUE(await([](const State &state) { return state.queue_pairs == 4; }));
    for (uint32_t ring = 0; ring < 8; ++ring) {
        thread_->enable_ring(ring, false);
        thread_->set_ring(guest_.ring(info(), *features_for_device(info(), multi_queue), ring));
        thread_->enable_ring(ring, true);
    }
    enable(4);
    thread_->enable_ring(6, false);
    ASSERT_TRUE(serve_until(3));
    EXPECT_THAT(asked_, ElementsAre(4, 3));
}

TEST_F(MultiQueueTest, TakesRingsThatAreSetUpBeforeTheDeviceRuns) {
    enable(4);
    auto session = guest_.session(info(), multi_queue, 4);
    std::vector<Ring> late;
    for (int i = 0; i < 6; ++i) {
        late.push_back(std::move(session.rings.back()));
        session.rings.pop_back();
    }
    thread_->configure(std::move(session));
    for (auto ring = late.rbegin(); ring != late.rend(); ++ring) {
        thread_->set_ring(std::move(*ring));
    }
    ASSERT_TRUE(serve_until(4));
    EXPECT_TRUE(await([](const State &state) { return state.queue_pairs == 4; }));
    EXPECT_EQ(calls_named("SET_STATUS 15"), 1U);
}

TEST_F(MultiQueueTest, StartsTheDeviceAgainForRingsThatComeLater) {
    enable(1);
    auto session = guest_.session(info(), multi_queue, 2);
    std::vector<Ring> late;
    for (int i = 0; i < 2; ++i) {
        late.push_back(std::move(session.rings.back()));
        session.rings.pop_back();
    }
    thread_->configure(std::move(session));
    ASSERT_TRUE(await(Phase::running));
    kernel_.set_position(0, 99);
    thread_->set_ring(std::move(late[1]));
    thread_->set_ring(std::move(late[0]));
    enable(2);
    ASSERT_TRUE(await(Phase::starting));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(kernel_.queue(0).base, 99U);
    new_control_queue();
    ASSERT_TRUE(serve_until(2));
    EXPECT_TRUE(await([](const State &state) { return state.queue_pairs == 2; }));
    EXPECT_EQ(calls_named("MAP 0"), 1U);  // the guest's memory stayed
}

TEST_F(MultiQueueTest, SaysThatTheDeviceRefuses) {
    enable(4);
    thread_->configure(guest_.session(info(), multi_queue, 4));
    ASSERT_TRUE(serve_until(4, VIRTIO_NET_ERR));
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_THAT(thread_->state().fault->detail, HasSubstr("4 queue pairs"));
    EXPECT_EQ(kernel_.status(), 0);
}

TEST_F(MultiQueueTest, SaysThatTheDeviceDoesNotAnswer) {
    enable(4);
    thread_->configure(guest_.session(info(), multi_queue, 4));
    ASSERT_TRUE(await(Phase::running));
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_THAT(thread_->state().fault->detail, HasSubstr("control queue"));
}

TEST_F(MultiQueueTest, FrontEndGoesWhileTheDeviceIsAsked) {
    enable(4);
    thread_->configure(guest_.session(info(), multi_queue, 4));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_THAT(thread_->close(), testing::SizeIs(8));
    ASSERT_TRUE(await(Phase::idle));
}

}  // namespace
}  // namespace vdpa::engine::kernel
