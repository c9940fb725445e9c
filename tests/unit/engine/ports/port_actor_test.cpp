// SPDX-License-Identifier: Apache-2.0
// A port of the real vhost library whose netdev is opened under a socket that is served already.
#include "engine/port_actor.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "tests/unit/engine/start_dpdk.hpp"
#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine {
namespace {

using schema::Reason;
using test::connect_unix;

constexpr std::chrono::seconds bound{10};

/* The host as the datapaths find it, and what they did. */
struct Host {
    std::optional<Error> netdev_error;
    std::optional<Error> offer_error;
    int datapaths = 0;
    int opened_netdevs = 0;
};

class FakeDatapath : public vhost::Datapath {
  public:
    explicit FakeDatapath(Host &host) : host_(host) { host_.datapaths++; }

    Expected<std::function<void()>> open_netdev() override {
        if (host_.netdev_error) {
            return tl::make_unexpected(*host_.netdev_error);
        }
        return [this] { host_.opened_netdevs++; };
    }
    Expected<void> set_offer(const vhost::Offer &) override {
        return host_.offer_error ? tl::make_unexpected(*host_.offer_error) : Expected<void>();
    }
    uint64_t features() const override { return 0; }
    uint64_t protocol_features() const override { return 0; }
    uint32_t queue_pairs() const override { return 1; }
    uint32_t ring_count() const override { return 2; }
    void new_connection(int) override {}
    void device_up(int) override {}
    void device_down() override {}
    void ring_enabled(uint16_t, bool) override {}
    bool quiesce() override { return true; }
    bool resume() override { return true; }
    bool read_config(int, uint32_t, uint8_t *, uint32_t) const override { return false; }
    uint32_t enabled_queue_pairs() const override { return 0; }
    vhost::DatapathStatus status() const override { return {}; }
    std::vector<schema::QueueStats> stats() const override { return {}; }
    void reset_stats() override {}

  private:
    Host &host_;
};

class PortActorTest : public testing::Test, protected vhost::DatapathMaker {
  protected:
    void SetUp() override {
        ASSERT_TRUE(test::start_dpdk());
        events = std::make_unique<vhost::EventThread>(folder / "rpc.sock");
        context.emplace(ActorContext{.vhost = {.datapaths = *this, .event_thread = *events},
                                     .serving = {},
                                     .waiting = {},
                                     .retry_soon = [](const std::string &) {}});
        actor.emplace(*context, "vm1", [this](const vhost::Live &now) {
            const std::lock_guard lock(mutex);
            live = now;
            changed.notify_all();
        });
    }
    void TearDown() override {
        actor.reset();
        events.reset();
    }
    Expected<std::unique_ptr<vhost::Datapath>> make(const schema::PortSpec &, bool) override {
        return std::make_unique<FakeDatapath>(host);
    }

    schema::PortSpec spec(bool netdev_awaited) const {
        schema::PortSpec spec;
        spec.name = "vm1";
        spec.socket.path = folder / "vm1.sock";
        spec.device = {.kind = schema::DeviceKind::tap, .name = "vm1"};
        spec.max_queues = 1;
        spec.netdev_awaited = netdev_awaited;
        return spec;
    }
    /* Up to the point where a front-end has connected ahead of the netdev. */
    void begin() {
        const Outcome outcome = actor->apply(spec(true), 1);
        ASSERT_FALSE(outcome.error) << outcome.error->detail;
        front_end = connect_unix(folder / "vm1.sock");
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, bound, [this] { return live.connected; }));
    }
    /* Whether that front-end is still connected to what it connected to. */
    bool kept_front_end() {
        const std::lock_guard lock(mutex);
        return live.connected && live.connections == 1 && host.datapaths == 1;
    }

    Host host;
    test::TemporaryFolder folder;
    std::unique_ptr<vhost::EventThread> events;
    std::optional<ActorContext> context;
    std::optional<PortActor> actor;
    UniqueFd front_end;

  private:
    std::mutex mutex;
    std::condition_variable changed;
    vhost::Live live;
};

TEST_F(PortActorTest, ANetdevThatCannotBeOpenedLeavesThePortAsItWas) {
    begin();
    host.netdev_error = Error{Reason::netdev_missing, "there is no netdev vm1"};
    const Outcome outcome = actor->apply(spec(false), 2);
    EXPECT_EQ(outcome.generation, 2U);
    EXPECT_EQ(outcome.error, host.netdev_error);
    EXPECT_EQ(outcome.served, spec(true));
    EXPECT_TRUE(kept_front_end());
}

TEST_F(PortActorTest, ANetdevThatCouldNotBeOpenedIsOpenedByTheNextAttempt) {
    begin();
    host.netdev_error = Error{Reason::netdev_missing, "there is no netdev vm1"};
    actor->apply(spec(false), 2);
    host.netdev_error.reset();
    const Outcome outcome = actor->apply(spec(false), 3);
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.served, spec(false));
    EXPECT_EQ(host.opened_netdevs, 1);
    EXPECT_TRUE(kept_front_end());
}

TEST_F(PortActorTest, ANetdevThatIsOpenStaysOpenWhenWhatElseIsAskedForFails) {
    ASSERT_FALSE(actor->apply(spec(true), 1).error);
    host.offer_error = Error{Reason::tap_failed, "no"};
    schema::PortSpec more = spec(false);
    more.max_queues = 2;
    EXPECT_EQ(actor->apply(more, 2).error, host.offer_error);
    host.offer_error.reset();
    const Outcome outcome = actor->apply(more, 3);
    EXPECT_EQ(outcome.served, more);
    EXPECT_EQ(host.opened_netdevs, 1);
}

TEST_F(PortActorTest, ASocketThatIsRemovedIsMadeAgainWithoutTheNetdev) {
    ASSERT_FALSE(actor->apply(spec(true), 1).error);
    ASSERT_TRUE(std::filesystem::remove(folder / "vm1.sock"));
    host.netdev_error = Error{Reason::netdev_missing, "there is no netdev vm1"};
    const Outcome outcome = actor->check();
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.served, spec(true));
    EXPECT_TRUE(connect_unix(folder / "vm1.sock"));
}

}  // namespace
}  // namespace vdpa::engine
