// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/device_thread.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <future>

#include "fake_control_device.hpp"
#include "fake_kernel.hpp"
#include "guest.hpp"

namespace vdpa::engine::kernel {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto bound = 20s;
constexpr const char *path = "/dev/vhost-vdpa-7";
constexpr uint64_t split = features_of({VIRTIO_F_VERSION_1});
constexpr uint64_t packed = features_of({VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED});
constexpr uint64_t multi_queue =
    features_of({VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
constexpr uint8_t running = 15;

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

    void make_multi_queue() {
        kernel_.features |= features_of({VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ});
        kernel_.ring_count = 9;
        kernel_.config[8] = 4;
        kernel_.address_spaces = 2;
        kernel_.groups = {0, 0, 0, 0, 0, 0, 0, 0, 1};
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

TEST_F(DeviceThreadTest, DoesNotHaveTheFrontEndWaitForItsMemory) {
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

TEST_F(DeviceThreadTest, NeverStartsADeviceWhoseFrontEndHasGoneMeanwhile) {
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

TEST_F(DeviceThreadTest, MapsTheMemoryOfTheLastFrontEndAndNoOther) {
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

TEST_F(DeviceThreadTest, EndsWhileMemoryIsBeingMapped) {
    Gate gate;
    kernel_.on_map = [&gate] { gate.pass(); };
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(gate.await_arrival());
    auto ended = std::async(std::launch::async, [this] { thread_.reset(); });
    gate.open();
    EXPECT_EQ(ended.wait_for(bound), std::future_status::ready);
}

TEST_F(DeviceThreadTest, EndsWhileADeviceRuns) {
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
}

TEST_F(DeviceThreadTest, SaysWhyItCannotAndTriesAgain) {
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

TEST_F(DeviceThreadTest, WaitsLongerBeforeEachFurtherAttempt) {
    kernel_.fail("SET_FEATURES", EINVAL);
    open();
    const auto begin = std::chrono::steady_clock::now();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(eventually([this] { return calls_named("SET_FEATURES") == 4; }));
    // 100, 200 and 400 ms.
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 700ms);
}

TEST_F(DeviceThreadTest, DoesNotTryAgainWhatCannotSucceed) {
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
        ::eventfd_write(kernel_.queue(1).call, 1);
        EXPECT_TRUE(called()) << i;
    }
    // It may change its mind while the ring runs.
    Guest other;
    request.call = other.request(1).call;
    thread_->set_ring(*check_ring(info(), guest_.memory(), request, split));
    EXPECT_TRUE(Guest::same_eventfd(kernel_.queue(1).call, request.call));
}

TEST_F(DeviceThreadTest, LetsGoOfADeviceWhoseNodeIsRemoved) {
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

TEST_F(DeviceThreadTest, LetsGoOfARemovedDeviceInTheMiddleOfMapping) {
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

TEST_F(DeviceThreadTest, ReportsChangesOfTheConfigurationSpace) {
    open();
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.change_config(offsetof(virtio_net_config, status), 0);
    ::eventfd_write(kernel_.config_call(), 1);
    EXPECT_TRUE(await([](const State &state) { return state.config.link_up == false; }));
    EXPECT_EQ(thread_->state().phase, Phase::running);
}

TEST_F(DeviceThreadTest, ResetsADeviceThatAsksForItAndGoesOnWhereItStood) {
    open();
    enable(1);
    thread_->configure(guest_.session(info(), split));
    ASSERT_TRUE(await(Phase::running));
    kernel_.set_position(0, 77);
    kernel_.set_status(running | VIRTIO_CONFIG_S_NEEDS_RESET);
    ::eventfd_write(kernel_.config_call(), 1);
    ASSERT_TRUE(await(Phase::failed));
    EXPECT_THAT(thread_->state().fault->detail, HasSubstr("needs a reset"));
    ASSERT_TRUE(await(Phase::running));
    EXPECT_EQ(kernel_.status(), running);
    EXPECT_EQ(kernel_.queue(0).base, 77U);
}

TEST_F(DeviceThreadTest, OpensADeviceAgainThatHadToBeClosed) {
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

TEST_F(DeviceThreadTest, TakesNoOtherDeviceForTheOneThatItHadToClose) {
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

/* The device's side of the control queue: answers in a thread of its own. */
class MultiQueueTest : public DeviceThreadTest {
  protected:
    MultiQueueTest() {
        make_multi_queue();
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
                ::eventfd_write(queue.call, 1);
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
