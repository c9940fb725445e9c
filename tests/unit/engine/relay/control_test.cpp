// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/control.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/relay/features.hpp"
#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

constexpr uint8_t no_answer = 0xaa;

class ControlTest : public testing::TestWithParam<uint64_t> {
  protected:
    /* The answer to `command`, in pieces of `piece` bytes. */
    uint8_t answer(const std::vector<uint8_t> &command, uint32_t piece = 2) {
        const uint64_t addr = ram.allocate(command.size() + 1);
        std::memcpy(ram.host(addr), command.data(), command.size());
        const uint64_t ack = ram.allocate(1);
        *ram.host(ack) = no_answer;
        std::vector<Buffer> chain;
        for (uint32_t at = 0; at < command.size(); at += piece) {
            chain.push_back(
                {addr + at, std::min(piece, static_cast<uint32_t>(command.size()) - at), false});
        }
        chain.push_back({ack, 1, true});
        const uint16_t id = driver->add(chain);
        EXPECT_EQ(control.burst(scratch), 1U);
        EXPECT_EQ(driver->take_used(), (Used{id, 1}));
        return *ram.host(ack);
    }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    QueueCounters counters;
    Complaints complaints{"test"};
    uint64_t features = GetParam() | offered_features(false, false);
    std::unique_ptr<Driver> driver = make_driver(ram, 64, features);
    Caller caller;
    Ring ring{0, driver->setup, features, memory, DirtyLog{}, counters, complaints, caller};
    std::vector<uint16_t> pairs_set;
    bool accept_pairs = true;
    Control control{ring, features, [this](uint16_t pairs) {
                        pairs_set.push_back(pairs);
                        return accept_pairs;
                    }};
    Segments scratch;
};

TEST_P(ControlTest, FiltersAndAnnouncementsAreAcknowledged) {
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1}), VIRTIO_NET_OK);
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 2, 0, 0, 0, 0, 1}),
              VIRTIO_NET_OK);
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 5, 0}), VIRTIO_NET_OK);
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK}), VIRTIO_NET_OK);
}

TEST_P(ControlTest, WhatIsNotOfferedIsRefused) {
    EXPECT_EQ(answer({5, 0, 0, 0, 0, 0, 0, 0, 0, 0}), VIRTIO_NET_ERR);  // guest offloads
    EXPECT_EQ(answer({0x77, 0}), VIRTIO_NET_ERR);
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, 1, 0}), VIRTIO_NET_ERR);
}

TEST_P(ControlTest, TheNumberOfPairsIsActedOn) {
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 3, 0}), VIRTIO_NET_OK);
    accept_pairs = false;
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0, 1}, 1),
              VIRTIO_NET_ERR);
    EXPECT_EQ(pairs_set, (std::vector<uint16_t>{3, 256}));
}

TEST_P(ControlTest, ACommandThatIsTooShortIsRefused) {
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_RX}), VIRTIO_NET_ERR);
    EXPECT_EQ(answer({VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 3}), VIRTIO_NET_ERR);
    EXPECT_TRUE(pairs_set.empty());
}

TEST_P(ControlTest, ALongCommandIsAnsweredBehindItsEnd) {
    std::vector<uint8_t> table(2 + 4 + 300 * 6);
    table[0] = VIRTIO_NET_CTRL_MAC;
    table[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
    EXPECT_EQ(answer(table, 1000), VIRTIO_NET_OK);
}

TEST_P(ControlTest, ACommandWithoutRoomForTheAnswerBreaksTheRing) {
    driver->add({{ram.allocate(4), 4, false}});
    control.burst(scratch);
    EXPECT_TRUE(ring.broken());
    EXPECT_FALSE(driver->take_used());
}

INSTANTIATE_TEST_SUITE_P(Formats, ControlTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
