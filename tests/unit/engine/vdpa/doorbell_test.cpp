// SPDX-License-Identifier: Apache-2.0
// Doorbells that a device hands to the front-end, which has to answer for each.
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using test::FrontEnd;

/* The front-end's side of the back-end's channel: counts what is asked, and answers each. */
class Channel {
  public:
    enum class Answer { yes, no, none };

    Channel(UniqueFd fd, Answer answer)
        : fd_(std::move(fd)), thread_([this, answer] { run(answer); }) {}
    ~Channel() {
        ends_ = true;
        thread_.join();
    }
    Channel(const Channel &) = delete;
    Channel &operator=(const Channel &) = delete;

    int asked() const { return asked_; }

  private:
    void run(Answer answer) {
        constexpr uint32_t host_notifier = 3;
        struct __attribute__((packed)) {
            uint32_t request, flags, size;
            uint64_t ring, area_size, offset;
        } message{};
        while (!ends_) {
            pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&entry, 1, 50) != 1) {
                continue;
            }
            if (::recv(fd_.get(), &message, sizeof(message), MSG_WAITALL) != sizeof(message)) {
                return;
            }
            EXPECT_EQ(message.request, host_notifier);
            ++asked_;
            if (answer != Answer::none) {
                message.flags = 1 | 4;
                message.size = 8;
                message.ring = answer == Answer::yes ? 0 : 1;
                EXPECT_EQ(::send(fd_.get(), &message, 20, MSG_NOSIGNAL), 20);
            }
        }
    }

    const UniqueFd fd_;
    std::atomic<bool> ends_{false};
    std::atomic<int> asked_{0};
    std::thread thread_;
};

class DoorbellTest : public PortFixture {
  protected:
    /* A guest with four rings. Its doorbells are mapped, or not, when this returns. */
    void start(FrontEnd &guest, std::unique_ptr<Channel> &channel, Channel::Answer answer) {
        ASSERT_TRUE(guest.negotiate());
        channel = std::make_unique<Channel>(guest.open_channel(), answer);
        ASSERT_TRUE(guest.share_memory());
        for (uint32_t ring = 0; ring < 4; ++ring) {
            guest.set_up_ring(ring);
        }
        for (uint32_t ring = 0; ring < 4; ++ring) {
            guest.enable_ring(ring, true);
        }
        ASSERT_TRUE(guest.settled());
    }
};

TEST_F(DoorbellTest, AreMappedWhenTheFrontEndTakesThem) {
    auto port = serve(spec("vdpa_test0,doorbell=1", 2));
    std::unique_ptr<Channel> channel;
    FrontEnd guest(folder_ / "vm1.sock");
    start(guest, channel, Channel::Answer::yes);
    EXPECT_TRUE(eventually([](const auto &live) { return live.datapath.doorbell == "mapped"; }));
    EXPECT_GE(channel->asked(), 4) << "one for each ring";
    guest.stop(2);
    EXPECT_TRUE(eventually([](const auto &live) { return live.datapath.doorbell.empty(); }));
}

TEST_F(DoorbellTest, AreEventfdsWhenTheFrontEndRefusesThem) {
    auto port = serve(spec("vdpa_test0,doorbell=1", 2));
    std::unique_ptr<Channel> channel;
    FrontEnd guest(folder_ / "vm1.sock");
    start(guest, channel, Channel::Answer::no);
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 2; }));
    EXPECT_EQ(live().datapath.doorbell, "eventfd");
}

TEST_F(DoorbellTest, AreEventfdsWithoutTheChannel) {
    auto port = serve(spec("vdpa_test0,doorbell=1", 1));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    EXPECT_EQ(live().datapath.doorbell, "eventfd");
}

TEST_F(DoorbellTest, AFrontEndThatNeverAnswersHoldsOthersUpForABoundedTime) {
    auto port = serve(spec("vdpa_test0,doorbell=1,queues=16", 16));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate());
    const Channel channel(guest.open_channel(), Channel::Answer::none);
    ASSERT_TRUE(guest.share_memory());
    for (uint32_t ring = 0; ring < 32; ++ring) {
        guest.set_up_ring(ring);
    }
    guest.enable_ring(0, true);
    const auto begin = std::chrono::steady_clock::now();
    guest.enable_ring(1, true);
    ASSERT_TRUE(guest.settled());
    // Half a second for the ring that it is asked for, half a second for taking that back; and not
    // for each of 32 rings, twice.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    EXPECT_LE(channel.asked(), 2);
    EXPECT_EQ(live().datapath.doorbell, "eventfd");
    EXPECT_GE(live().datapath.stall_ms, 500U);
}

}  // namespace
}  // namespace vdpa::engine::device
