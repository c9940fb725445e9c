// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>

#include <atomic>
#include <thread>

#include "engine/relay/features.hpp"
#include "engine/relay/relay.hpp"
#include "tests/unit/engine/relay/fake_front_end.hpp"
#include "tests/unit/engine/relay/tap_sandbox.hpp"

/* Whole ports: workers, a real TAP, a guest in this program. The test's thread is the vhost
 * library's. */
namespace vdpa::engine::relay {
namespace {

using namespace test;

class PortTest : public TapSandbox, public testing::WithParamInterface<uint64_t> {
  protected:
    void SetUp() override {
        TapSandbox::SetUp();
        if (!IsSkipped()) {
            make_tap("vm1");
            auto started = Workers::start({});
            ASSERT_TRUE(started) << started.error().detail;
            workers = std::move(*started);
        }
    }
    void TearDown() override {
        port.reset();
        workers.reset();
        TapSandbox::TearDown();
    }

    std::unique_ptr<Port> attach(const std::string &netdev, uint16_t pairs, Guest *&of) {
        auto attached =
            Port::attach(*workers, {netdev, netdev, pairs}, std::make_unique<FakeFrontEnd>(of));
        EXPECT_TRUE(attached) << attached.error().detail;
        return std::move(*attached);
    }
    static void connect(Port &to, Guest &from) {
        to.new_connection();
        for (const auto &[number, ring] : from.rings) {
            to.ring_enabled(number, true);
        }
        to.device_up(0);
    }
    /* One guest with one pair, connected. */
    void start(unsigned buffers = 128) {
        guest.add_pair(0, buffers);
        port = attach("vm1", 4, current);
        connect(*port, guest);
    }
    /* One for a later connection, when nothing is connected. */
    Guest &next_guest() {
        successor = std::make_unique<Guest>(features);
        successor->add_pair(0, 128);
        current = successor.get();
        return *successor;
    }
    void expect_both_ways() {
        HostPort host("vm1");
        EXPECT_TRUE(eventually([&] {
            host.send(test_frame(7));
            return number_of(guest.receive(0)) == 7;
        }));
        guest.send(1, test_frame(8));
        EXPECT_TRUE(eventually([&] { return number_of(host.receive()) == 8; }));
    }

    static constexpr uint64_t offloads =
        bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO4);
    uint64_t features = GetParam() | bit(VIRTIO_NET_F_MRG_RXBUF);
    Guest guest{features};
    Guest *current = &guest;
    std::unique_ptr<Guest> successor;
    std::unique_ptr<Workers> workers;
    std::unique_ptr<Port> port;
};

TEST_P(PortTest, FramesPassBothWays) {
    start();
    expect_both_ways();
    const auto stats = port->stats();
    EXPECT_GE(stats[0].packets, 1U);
    EXPECT_EQ(stats[1].packets, 1U);
    EXPECT_EQ(stats[1].bytes, test_frame(8).size());
    EXPECT_EQ(stats[1].drops_tap_error, 0U);
}

TEST_P(PortTest, CountersBeginAtZeroAgainWhenTheyAreReset) {
    start();
    expect_both_ways();
    port->reset_stats();
    for (const QueueStats &ring : port->stats()) {
        EXPECT_EQ(ring.packets, 0U);
        EXPECT_EQ(ring.bytes, 0U);
    }
    expect_both_ways();
    EXPECT_EQ(port->stats()[1].packets, 1U);
    port->reset_stats();
    EXPECT_EQ(port->stats()[1].packets, 0U);
}

TEST_P(PortTest, ATapThatIsNotThereIsAnError) {
    const auto attached =
        Port::attach(*workers, {"vm2", "vm2", 1}, std::make_unique<FakeFrontEnd>(current));
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().reason, schema::Reason::netdev_missing);
}

TEST_P(PortTest, TheCarrierIsThatOfTheDevice) {
    guest.add_pair(0);
    port = attach("vm1", 4, current);
    EXPECT_FALSE(carrier("vm1"));
    connect(*port, guest);
    EXPECT_TRUE(carrier("vm1"));
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
    port->ring_enabled(1, false);
    EXPECT_FALSE(carrier("vm1"));
    EXPECT_EQ(port->enabled_queue_pairs(), 0U);
    port->ring_enabled(1, true);
    EXPECT_TRUE(carrier("vm1"));
    port->device_down();
    EXPECT_FALSE(carrier("vm1"));
    EXPECT_EQ(port->enabled_queue_pairs(), 0U);
}

TEST_P(PortTest, TheTapHasTheOffloadsOfTheGuestWhileItIsThere) {
    guest.features |= offloads;
    start();
    EXPECT_TRUE(tso("vm1"));
    port->device_down();
    EXPECT_FALSE(tso("vm1"));
}

TEST_P(PortTest, OnlyEnabledPairsHaveAQueue) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(1);
    start();
    EXPECT_EQ(queues("vm1"), 2U);
    EXPECT_EQ(port->enabled_queue_pairs(), 2U);
    port->ring_enabled(2, false);
    port->ring_enabled(3, false);
    EXPECT_EQ(queues("vm1"), 1U);
    port->ring_enabled(2, true);
    EXPECT_EQ(queues("vm1"), 1U);
    port->ring_enabled(3, true);
    EXPECT_EQ(queues("vm1"), 2U);
    port->device_down();
    EXPECT_EQ(queues("vm1"), 1U);
}

TEST_P(PortTest, ANewFrontEndGoesOnWhereTheOldOneEnded) {
    start();
    expect_both_ways();
    port->device_down();
    Guest &other = next_guest();
    connect(*port, other);
    HostPort host("vm1");
    EXPECT_TRUE(eventually([&] {
        host.send(test_frame(9));
        return number_of(other.receive(0)) == 9;
    }));
}

TEST_P(PortTest, AGuestDoesNotGetWhatWaitedForAnother) {
    start(0);
    HostPort host("vm1");
    ASSERT_TRUE(eventually([&] { return host.send(test_frame(1)); }));
    port->device_down();
    Guest &other = next_guest();
    connect(*port, other);
    uint32_t first = UINT32_MAX;
    ASSERT_TRUE(eventually([&] {
        host.send(test_frame(2));  // again: the kernel loses some while the carrier comes back
        first = number_of(other.receive(0));
        return first != UINT32_MAX;
    }));
    EXPECT_EQ(first, 2U);
}

TEST_P(PortTest, NothingIsTouchedBetweenQuiesceAndResume) {
    start();
    std::atomic<bool> stop{false};
    std::thread sender([&stop] {
        HostPort host("vm1");
        for (uint32_t n = 0; !stop; n++) {
            host.send(test_frame(n));
            std::this_thread::yield();
        }
    });
    uint32_t received = 0;
    uint32_t last = 0;
    bool in_order = true;
    const auto take = [&] {
        for (auto frame = guest.receive(0); !frame.empty(); frame = guest.receive(0)) {
            in_order = in_order && (received == 0 || number_of(frame) > last);
            last = number_of(frame);
            received++;
        }
    };
    for (int round = 0; round < 30; round++) {
        const uint32_t before = received;
        ASSERT_TRUE(eventually([&] {
            take();
            return received > before;
        }));
        ASSERT_TRUE(port->quiesce());
        take();
        // What a front-end does now is to take the memory away.
        const RingSetup &setup = guest.ring(0).setup;
        std::vector<uint8_t> kept(guest.ram.region().host,
                                  guest.ram.region().host + guest.ram.region().size / 16);
        std::fill_n(guest.ram.region().host, kept.size(), uint8_t{0xcc});
        ASSERT_EQ(setup.next_avail, setup.next_used);
        std::copy(kept.begin(), kept.end(), guest.ram.region().host);
        port->resume();
    }
    stop = true;
    sender.join();
    EXPECT_TRUE(in_order);
    EXPECT_FALSE(port->stats()[0].broken);
}

TEST_P(PortTest, TransmittingSurvivesQuiescing) {
    start();
    HostPort host("vm1");
    uint32_t next = 0;
    for (uint32_t sent = 0; sent < 2000;) {
        for (int n = 0; n < 50; n++) {
            guest.send(1, test_frame(sent++));
        }
        ASSERT_TRUE(port->quiesce());
        port->resume();
        ASSERT_TRUE(eventually([&] {
            for (auto frame = host.receive(); !frame.empty(); frame = host.receive()) {
                EXPECT_EQ(number_of(frame), next++);
            }
            while (guest.ring(1).take_used()) {
            }
            return next == sent;
        })) << next;
    }
}

TEST_P(PortTest, AnotherPortOfTheWorkerGoesOnWhileOneIsQuiesced) {
    start();
    make_tap("vm2");
    Guest second(features);
    second.add_pair(0, 128);
    Guest *second_current = &second;
    auto other = attach("vm2", 1, second_current);
    connect(*other, second);
    ASSERT_TRUE(other->quiesce());
    expect_both_ways();
    other->resume();
    HostPort host("vm2");
    second.send(1, test_frame(3));
    EXPECT_TRUE(eventually([&] { return number_of(host.receive()) == 3; }));
}

TEST_P(PortTest, APortCanBeDestroyedInTraffic) {
    std::atomic<bool> stop{false};
    std::thread sender([&stop] {
        HostPort host("vm1");
        while (!stop) {
            host.send(test_frame(1));
        }
    });
    for (int round = 0; round < 5; round++) {
        Guest &fresh = next_guest();
        port = attach("vm1", 4, current);
        connect(*port, fresh);
        fresh.send(1, test_frame(1));
        EXPECT_TRUE(eventually([&] { return !fresh.receive(0).empty(); }));
        port.reset();
    }
    stop = true;
    sender.join();
}

TEST_P(PortTest, AMessageThatFailedEndsTheConnection) {
    start();
    ASSERT_TRUE(port->quiesce());
    EXPECT_FALSE(port->quiesce());
    current = nullptr;  // the library has no memory table to ask for any more
    port->device_up(0);
    EXPECT_EQ(port->stats()[0].packets, 0U);
    port->device_down();
    Guest &other = next_guest();
    connect(*port, other);
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
}

TEST_P(PortTest, ABrokenRingLeavesTheOtherAlone) {
    start();
    guest.ring(1).add({{0x10, 100, false}});
    guest.kick(1);
    EXPECT_TRUE(eventually([&] { return port->stats()[1].broken; }));
    HostPort host("vm1");
    EXPECT_TRUE(eventually([&] {
        host.send(test_frame(7));
        return number_of(guest.receive(0)) == 7;
    }));
    EXPECT_EQ(port->stats()[1].drops_bad_descriptor, 1U);
}

TEST_P(PortTest, ARingThatIsNotInGuestMemoryIsBroken) {
    guest.add_pair(0, 128);
    guest.ring(1).setup.device = guest.ram.region().host + guest.ram.region().size;
    port = attach("vm1", 4, current);
    connect(*port, guest);
    EXPECT_TRUE(port->stats()[1].broken);
    EXPECT_FALSE(port->stats()[0].broken);
}

TEST_P(PortTest, AReceiveRingThatIsNotInGuestMemoryIsBrokenAndFramesForItAreLeftAlone) {
    guest.add_pair(0, 128);
    guest.ring(0).setup.device = guest.ram.region().host + guest.ram.region().size;
    port = attach("vm1", 4, current);
    connect(*port, guest);
    EXPECT_TRUE(port->stats()[0].broken);
    HostPort host("vm1");
    host.send(test_frame(7));
    guest.send(1, test_frame(8));
    EXPECT_TRUE(eventually([&] { return number_of(host.receive()) == 8; }));
    EXPECT_EQ(port->stats()[0].packets, 0U);
    port->device_down();
}

TEST_P(PortTest, ARingWithoutAKickDescriptorIsPolled) {
    guest.add_pair(0, 128);
    guest.ring(1).setup.kick_fd = -1;
    port = attach("vm1", 4, current);
    connect(*port, guest);
    expect_both_ways();
}

TEST_P(PortTest, FramesWaitUntilTheGuestPostsBuffers) {
    start(0);
    HostPort host("vm1");
    for (uint32_t n = 0; n < 10; n++) {
        ASSERT_TRUE(eventually([&] { return host.send(test_frame(n)); }));
    }
    EXPECT_TRUE(guest.receive(0).empty());
    guest.post(0, 64);
    for (uint32_t n = 0; n < 10; n++) {
        EXPECT_TRUE(eventually([&] { return number_of(guest.receive(0)) == n; })) << n;
    }
    EXPECT_EQ(port->stats()[0].drops_no_buffer, 0U);
}

TEST_P(PortTest, AGuestThatPostsFewBuffersGetsItsFramesAllTheSame) {
    start(2);
    HostPort host("vm1");
    for (uint32_t n = 0; n < 20; n++) {
        ASSERT_TRUE(eventually([&] { return host.send(test_frame(n)); }));
        EXPECT_TRUE(eventually([&] { return number_of(guest.receive(0)) == n; })) << n;
    }
}

TEST_P(PortTest, TheControlQueueIsAnsweredWithoutMultiQueue) {
    Driver &control = guest.add_ring(2, 64);
    start();
    const uint64_t command = guest.ram.allocate(3);
    const uint64_t answer = guest.ram.allocate(1);
    *guest.ram.host(answer) = 0xaa;
    control.add({{command, 3, false}, {answer, 1, true}});
    guest.kick(2);
    EXPECT_TRUE(eventually([&] { return control.take_used().has_value(); }));
    EXPECT_EQ(*guest.ram.host(answer), VIRTIO_NET_OK);
    EXPECT_EQ(port->stats()[8].packets, 1U);  // the last one of four pairs
    expect_both_ways();
}

TEST_P(PortTest, TheControlQueueSetsTheNumberOfPairs) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(1);
    Driver &control = guest.add_ring(8, 64);
    start();
    EXPECT_EQ(queues("vm1"), 1U);
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
    const uint64_t command = guest.ram.allocate(4);
    const uint64_t answer = guest.ram.allocate(1);
    *guest.ram.host(command) = VIRTIO_NET_CTRL_MQ;
    *guest.ram.host(command + 2) = 2;
    control.add({{command, 4, false}, {answer, 1, true}});
    guest.kick(8);
    EXPECT_TRUE(eventually([&] { return control.take_used().has_value(); }));
    EXPECT_EQ(*guest.ram.host(answer), VIRTIO_NET_OK);
    EXPECT_EQ(queues("vm1"), 2U);
    EXPECT_EQ(port->enabled_queue_pairs(), 2U);
}

TEST_P(PortTest, AnIdleWorkerSleeps) {
    start();
    expect_both_ways();
    // Once nothing moves, the program's threads use no time: not in a window of 100 ms.
    EXPECT_TRUE(eventually([] {
        timespec before{}, after{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
        const auto used =
            (after.tv_sec - before.tv_sec) * 1'000'000'000L + after.tv_nsec - before.tv_nsec;
        return used < 1'000'000;
    }));
}

INSTANTIATE_TEST_SUITE_P(Formats, PortTest, testing::Values(split_event, packed_event),
                         FormatName());

TEST(Workers, AreAsManyAsThereAreCpus) {
    EXPECT_EQ((*Workers::start({}))->count(), 1U);
    EXPECT_EQ((*Workers::start({0, 0, 0}))->count(), 3U);
}

TEST(Workers, ACpuThatIsNotThereIsAnError) {
    const auto started = Workers::start({100'000});
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().detail.find("100000"), std::string::npos);
}

}  // namespace
}  // namespace vdpa::engine::relay
