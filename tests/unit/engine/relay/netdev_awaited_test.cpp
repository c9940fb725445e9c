// SPDX-License-Identifier: Apache-2.0
// A port that a front-end can connect to before its netdev is there.
#include "tests/unit/engine/relay/port_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

class NetdevAwaitedTest : public PortTest {
  protected:
    void begin(uint16_t pairs = 1) {
        guest.add_pair(0, 128);
        port = attach("vm2", pairs, current, true);
    }
    /* Whether the netdev could be opened. */
    bool open() {
        const auto tap = Port::open_netdev("vm2", port->max_queue_pairs());
        if (tap) {
            port->use_netdev(*tap);
        }
        return tap.has_value();
    }
};

TEST_P(NetdevAwaitedTest, AFrontEndThatIsThereIsServedWhenTheNetdevIsOpened) {
    begin();
    connect(*port, guest);
    EXPECT_EQ(port->enabled_queue_pairs(), 0U);
    EXPECT_FALSE(port->fault());
    make_tap("vm2", false);
    EXPECT_FALSE(carrier("vm2"));
    ASSERT_TRUE(open());
    EXPECT_TRUE(carrier("vm2"));
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
    expect_both_ways("vm2");
}

TEST_P(NetdevAwaitedTest, AFrontEndThatComesLaterIsServed) {
    begin();
    make_tap("vm2", false);
    ASSERT_TRUE(open());
    EXPECT_FALSE(carrier("vm2"));
    connect(*port, guest);
    expect_both_ways("vm2");
}

TEST_P(NetdevAwaitedTest, AllItsPairsAreServed) {
    guest.features |= bit(VIRTIO_NET_F_MQ);
    guest.add_pair(1);
    begin(4);
    connect(*port, guest);
    make_tap("vm2");
    ASSERT_TRUE(open());
    EXPECT_EQ(queues("vm2"), 2U);
    EXPECT_EQ(port->enabled_queue_pairs(), 2U);
}

TEST_P(NetdevAwaitedTest, AFrontEndMayDoAllItDoesMeanwhile) {
    begin();
    connect(*port, guest);
    ASSERT_TRUE(port->quiesce());
    port->resume();
    port->ring_enabled(1, false);
    port->ring_enabled(1, true);
    port->device_down();
    Guest &other = next_guest();
    connect(*port, other);
    port->recover();
    make_tap("vm2", false);
    ASSERT_TRUE(open());
    EXPECT_TRUE(carrier("vm2"));
}

TEST_P(NetdevAwaitedTest, NothingIsServedWhileAMessageIsBeingHandled) {
    begin();
    connect(*port, guest);
    ASSERT_TRUE(port->quiesce());
    make_tap("vm2", false);
    ASSERT_TRUE(open());
    EXPECT_EQ(port->enabled_queue_pairs(), 0U);
    port->resume();
    EXPECT_EQ(port->enabled_queue_pairs(), 1U);
    expect_both_ways("vm2");
}

TEST_P(NetdevAwaitedTest, OneOfThatNameIsNotTouchedBeforeItIsSaidToBeThere) {
    make_tap("vm2", false);  // one program at a time can have it open
    begin();
    connect(*port, guest);
    Guest *nobody = nullptr;
    EXPECT_NE(attach("vm2", 1, nobody), nullptr);
}

TEST_P(NetdevAwaitedTest, ThatIsNotThereIsAnErrorAndCanBeOpenedLater) {
    begin();
    const auto opened = Port::open_netdev("vm2", 1);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().reason, schema::Reason::netdev_missing);
    make_tap("vm2", false);
    EXPECT_TRUE(open());
    connect(*port, guest);
    expect_both_ways("vm2");
}

TEST_P(NetdevAwaitedTest, ThatIsThereTwiceDisturbsNothing) {
    begin();
    make_tap("vm2");
    ASSERT_TRUE(open());
    connect(*port, guest);
    ASSERT_TRUE(open());
    expect_both_ways("vm2");
}

TEST_P(NetdevAwaitedTest, ThatWasMadeForOneQueueServesAPortThatHasMoreByNow) {
    begin(4);
    make_tap("vm2", false);
    const auto tap = Port::open_netdev("vm2", 1);
    ASSERT_TRUE(tap) << tap.error().detail;
    port->use_netdev(*tap);
    connect(*port, guest);
    expect_both_ways("vm2");
}

INSTANTIATE_TEST_SUITE_P(Formats, NetdevAwaitedTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
