// SPDX-License-Identifier: Apache-2.0
// A front-end that connects before the vhost library has said that the one before has gone.
#include <gmock/gmock.h>

#include <future>
#include <optional>

#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using test::FrontEnd;
using test::take_calls;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;

/* Two front-ends, of which the library's thread learns at once that one has gone and one has come,
 * and looks at what listens first. */
class SuccessorTest : public PortFixture {
  protected:
    void SetUp() override {
        PortFixture::SetUp();
        port = serve(spec("vdpa_test0"));
        first.emplace(folder_ / "vm1.sock");
        ASSERT_TRUE(first->start(1));
        ASSERT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
        take_calls();
    }
    void while_the_library_is_at_work(const std::function<void()> &what) {
        std::promise<void> begun, done;
        ASSERT_TRUE(events_->post([&begun, ended = done.get_future().share()] {
            begun.set_value();
            ended.wait();
        }));
        begun.get_future().wait();
        what();
        done.set_value();
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
    while_the_library_is_at_work([this] {
        first->hang_up();
        second.emplace(folder_ / "vm1.sock");
    });
    port->stop();
    EXPECT_FALSE(second->settled());
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
}

}  // namespace
}  // namespace vdpa::engine::device
