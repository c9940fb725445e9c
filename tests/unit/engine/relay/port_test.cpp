// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <ctime>
#include <thread>

#include "tests/unit/engine/relay/port_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

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
