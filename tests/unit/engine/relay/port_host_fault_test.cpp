// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <vector>

#include "engine/relay/tap.hpp"
#include "tests/unit/engine/relay/port_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

/* What the host refuses to a port: said while it does, and tried again. */
class PortHostFaultTest : public PortTest {
  protected:
    /* Has all queues of vm1 that are left: MAX_TAP_QUEUES of drivers/net/tun.c, less the port's. */
    void take_queues() {
        for (unsigned n = 1; n < 256; n++) {
            auto tap = Tap::open("vm1", 4);
            ASSERT_TRUE(tap) << n << ": " << tap.error().detail;
            takers.push_back(std::move(*tap));
        }
    }
    bool says(const std::string &part) const {
        const auto fault = port->fault();
        return fault && fault->detail.find(part) != std::string::npos;
    }
    void pass_an_hour() { port->recover(std::chrono::steady_clock::now() + std::chrono::hours(1)); }

    std::vector<Tap> takers;
};

INSTANTIATE_TEST_SUITE_P(Formats, PortHostFaultTest, testing::Values(split_event, packed_event),
                         FormatName());

TEST_P(PortHostFaultTest, ThereIsNoneWhileAllIsWell) {
    start();
    expect_both_ways();
    EXPECT_FALSE(port->fault());
    port->device_down();
    EXPECT_FALSE(port->fault());
}

TEST_P(PortHostFaultTest, APairWithoutAQueueIsSaidAndServedAsSoonAsThereIsOne) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(0, 128);
    guest.add_pair(1, 128);
    port = attach("vm1", 4, current);
    take_queues();
    const auto before = std::chrono::steady_clock::now();
    connect(*port, guest);
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
    ASSERT_TRUE(port->fault());
    EXPECT_EQ(port->fault()->reason, schema::Reason::tap_failed);
    EXPECT_TRUE(says("queue pair 1 is not served"));
    EXPECT_TRUE(says("TAP netdev vm1"));
    EXPECT_TRUE(says("end the program that has them open")) << port->fault()->detail;
    expect_both_ways();  // by the other

    takers.clear();
    port->recover(before);  // its time has not come
    EXPECT_TRUE(port->fault());
    pass_an_hour();
    EXPECT_FALSE(port->fault());
    EXPECT_EQ(port->enabled_queue_pairs(), 2U);
    HostPort host("vm1");
    guest.send(3, test_frame(9));
    EXPECT_TRUE(eventually([&] { return number_of(host.receive()) == 9; }));
}

TEST_P(PortHostFaultTest, AnAttemptInVainChangesNothing) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(0, 128);
    guest.add_pair(1, 128);
    port = attach("vm1", 4, current);
    take_queues();
    connect(*port, guest);
    const auto before = port->fault();
    ASSERT_TRUE(before);
    pass_an_hour();
    EXPECT_EQ(port->fault(), before);
    expect_both_ways();
}

TEST_P(PortHostFaultTest, NothingIsTriedInTheMidstOfAMessage) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(0, 128);
    guest.add_pair(1, 128);
    port = attach("vm1", 4, current);
    take_queues();
    connect(*port, guest);
    takers.clear();
    ASSERT_TRUE(port->quiesce());
    pass_an_hour();
    EXPECT_TRUE(port->fault());
    EXPECT_EQ(queues("vm1"), 1U);
    port->resume();
    EXPECT_FALSE(port->fault());
    EXPECT_EQ(queues("vm1"), 2U);
}

TEST_P(PortHostFaultTest, TheFaultGoesWithThePairThatHadIt) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(0, 128);
    guest.add_pair(1, 128);
    port = attach("vm1", 4, current);
    take_queues();
    connect(*port, guest);
    EXPECT_TRUE(port->fault());
    port->ring_enabled(2, false);
    EXPECT_FALSE(port->fault());
}

TEST_P(PortHostFaultTest, ANetdevThatWasDeletedIsSaid) {
    start();
    delete_netdev("vm1");
    port->device_down();
    ASSERT_TRUE(port->fault());
    EXPECT_EQ(port->fault()->reason, schema::Reason::tap_failed);
    EXPECT_TRUE(says("the next guest is not served: TAP netdev vm1: ")) << port->fault()->detail;
    EXPECT_TRUE(says("the netdev was deleted")) << port->fault()->detail;
    connect(*port, next_guest());
    EXPECT_TRUE(says("the guest is not served: TAP netdev vm1: ")) << port->fault()->detail;
}

}  // namespace
}  // namespace vdpa::engine::relay
