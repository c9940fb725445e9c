// SPDX-License-Identifier: Apache-2.0
// A front-end that connects before the vhost library has said that the one before has gone.
#include <gmock/gmock.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/vhost/memory_guard.hpp"
#include "engine/vhost/registry.hpp"
#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using test::FrontEnd;
using test::take_calls;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

/* Holds up the library's thread at the first descriptor of a round over those that it polls. What
 * happens meanwhile, it sees in the next round. */
class Hold {
  public:
    explicit Hold(vhost::EventThread &events) {
        auto begun = std::make_shared<std::promise<void>>();
        begun_ = begun->get_future();
        EXPECT_TRUE(events.post([begun, ended = ended_.get_future().share()] {
            begun->set_value();
            ended.wait();
        }));
    }
    ~Hold() { release(); }
    Hold(const Hold &) = delete;
    Hold &operator=(const Hold &) = delete;

    /* Until the thread is there. */
    void wait() const { begun_.wait(); }
    void release() {
        if (!std::exchange(is_released_, true)) {
            ended_.set_value();
        }
    }

  private:
    std::future<void> begun_;
    std::promise<void> ended_;
    bool is_released_ = false;
};

/* Two front-ends, of which the library's thread learns at once that one has gone and one has come,
 * and looks at what listens first. */
class SuccessorTest : public PortFixture {
  protected:
    void SetUp() override {
        PortFixture::SetUp();
        // Sockets that are gone leave gaps in the library's list until a round is over. Without
        // any, the descriptors that are polled are in the order in which they came.
        for (int round = 0; round < 2; ++round) {
            Hold(*events_).wait();
        }
        port = serve(spec("vdpa_test0"));
        connect_first();
    }
    void TearDown() override {
        port.reset();
        PortFixture::TearDown();
    }
    void connect_first() {
        first.emplace(folder_ / "vm1.sock");
        ASSERT_TRUE(first->start(1));
        ASSERT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
        take_calls();
    }
    void while_the_library_is_at_work(const std::function<void()> &what) {
        Hold hold(*events_);
        hold.wait();
        what();
    }
    /* `second` connects and says something. It is accepted in the round before the one in which the
     * library sees that `first` has hung up, at the beginning of which it is held up then. `also`
     * is called just before it is accepted. */
    std::unique_ptr<Hold> accept_a_round_earlier(const std::function<void()> &also = [] {}) {
        Hold connecting(*events_);
        connecting.wait();
        second.emplace(folder_ / "vm1.sock");
        second->send(FrontEnd::Request::get_features, nullptr, 0);
        Hold accepting(*events_);
        connecting.release();
        accepting.wait();
        first->hang_up();
        also();
        auto next = std::make_unique<Hold>(*events_);
        accepting.release();
        next->wait();
        EXPECT_EQ(connections().size(), 2U);
        return next;
    }
    /* Those of the library's that are the port's. */
    std::vector<int> connections() const {
        std::vector<int> all;
        for (int vid = 0; vid < 1024; ++vid) {
            if (vhost::Registry::instance().connection(vid) == port.get()) {
                all.push_back(vid);
            }
        }
        return all;
    }

    std::unique_ptr<vhost::Port> port;
    std::optional<FrontEnd> first, second;
};

TEST_F(SuccessorTest, IsServedAfterTheDeviceWasStopped) {
    while_the_library_is_at_work([this] {
        first->hang_up();
        second.emplace(folder_ / "vm1.sock");
    });
    ASSERT_TRUE(second->start(1));
    EXPECT_TRUE(eventually([](const auto &live) {
        return live.connected && live.queues == 1 && live.connections == 2;
    }));
    EXPECT_THAT(take_calls(),
                ElementsAre("dev_close", "dev_cleanup", "set_features", "set_vring_state 0 1",
                            "set_vring_state 1 1", "dev_conf"));
    second->hang_up();
    EXPECT_TRUE(eventually([](const auto &live) { return !live.connected; }));
}

TEST_F(SuccessorTest, DoesNotWaitForTheLastWordsOfTheOneBefore) {
    while_the_library_is_at_work([this] {
        for (int n = 0; n < 20; ++n) {
            first->send_state(FrontEnd::Request::set_vring_enable, 0, 0, true);
        }
        first->hang_up();
        second.emplace(folder_ / "vm1.sock");
    });
    ASSERT_TRUE(second->start(1));
    EXPECT_THAT(take_calls(),
                ElementsAre("dev_close", "dev_cleanup", "set_features", "set_vring_state 0 1",
                            "set_vring_state 1 1", "dev_conf"));
}

TEST_F(SuccessorTest, ThatHasGoneItselfIsForgotten) {
    while_the_library_is_at_work([this] {
        first->hang_up();
        second.emplace(folder_ / "vm1.sock");
        second->hang_up();
    });
    EXPECT_TRUE(
        eventually([](const auto &live) { return !live.connected && live.connections == 2; }));
    FrontEnd third(folder_ / "vm1.sock");
    ASSERT_TRUE(third.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
}

TEST_F(SuccessorTest, GetsWhatTheOneBeforeWasNotOffered) {
    ASSERT_TRUE(port->set_offer({.max_queues = 2, .packed = true, .offloads = true}));
    while_the_library_is_at_work([this] {
        first->hang_up();
        second.emplace(folder_ / "vm1.sock");
    });
    EXPECT_EQ(second->ask(FrontEnd::Request::get_queue_num), 2U);
}

TEST_F(SuccessorTest, GoesWithThePort) {
    const auto next = accept_a_round_earlier();
    port->stop();
    EXPECT_THAT(connections(), IsEmpty());
    next->release();
    EXPECT_FALSE(second->acknowledged());
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
}

/* The last descriptor of the library's list goes into a gap that an earlier one has left. */
TEST_F(SuccessorTest, ThatIsHeardBeforeTheOneBeforeHasGoneMustConnectAgain) {
    first->hang_up();
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    schema::PortSpec earlier = spec("vdpa_test1");
    earlier.socket.path = folder_ / "earlier.sock";
    const auto gap = serve(earlier);
    connect_first();
    accept_a_round_earlier([&] {
        gap->stop();
        take_calls();
    })->release();
    EXPECT_FALSE(second->acknowledged());
    FrontEnd third(folder_ / "vm1.sock");
    ASSERT_TRUE(third.start(1));
    EXPECT_TRUE(
        eventually([](const auto &live) { return live.queues == 1 && live.connections == 3; }));
    EXPECT_THAT(take_calls(),
                ElementsAre("dev_close", "dev_cleanup", "set_features", "set_vring_state 0 1",
                            "set_vring_state 1 1", "dev_conf"));
}

TEST_F(SuccessorTest, IsServedAfterOneThatTookItsMemoryAway) {
    auto &guard = vhost::MemoryGuard::instance();
    ASSERT_TRUE(guard.install());
    while_the_library_is_at_work([&] {
        ASSERT_THAT(connections(), SizeIs(1));
        const int vid = connections().front();
        const auto memory = vhost::shared_memory_of(vid);
        ASSERT_THAT(memory, SizeIs(1));
        ASSERT_EQ(::ftruncate(first->memory(), 0), 0);
        EXPECT_EQ(*reinterpret_cast<const volatile char *>(memory.front().begin), 0);
        ASSERT_THAT(guard.lost(), ElementsAre(vid));
        port->on_memory_lost(vid);
        EXPECT_EQ(reason_of(live()), "memory-lost");
        second.emplace(folder_ / "vm1.sock");
    });
    ASSERT_TRUE(second && second->start(1));
    EXPECT_TRUE(eventually([](const auto &live) {
        return live.queues == 1 && live.connections == 2 && reason_of(live).empty();
    }));
    EXPECT_THAT(take_calls(),
                ElementsAre("dev_close", "dev_cleanup", "set_features", "set_vring_state 0 1",
                            "set_vring_state 1 1", "dev_conf"));
}

}  // namespace
}  // namespace vdpa::engine::device
