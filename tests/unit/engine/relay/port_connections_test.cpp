// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/unit/engine/relay/port_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

/* A port whose front-end changes its memory, goes or is followed by another, in traffic. */
class PortConnectionsTest : public PortTest {};

TEST_P(PortConnectionsTest, ANewFrontEndGoesOnWhereTheOldOneEnded) {
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

TEST_P(PortConnectionsTest, AGuestDoesNotGetWhatWaitedForAnother) {
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

TEST_P(PortConnectionsTest, NothingIsTouchedBetweenQuiesceAndResume) {
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

TEST_P(PortConnectionsTest, TransmittingSurvivesQuiescing) {
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

TEST_P(PortConnectionsTest, AnotherPortOfTheWorkerGoesOnWhileOneIsQuiesced) {
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

TEST_P(PortConnectionsTest, APortCanBeDestroyedInTraffic) {
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

TEST_P(PortConnectionsTest, AMessageThatFailedEndsTheConnection) {
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

INSTANTIATE_TEST_SUITE_P(Formats, PortConnectionsTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
