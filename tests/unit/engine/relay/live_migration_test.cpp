// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "engine/relay/receiver.hpp"
#include "engine/relay/shared_memory.hpp"
#include "schema/support/unique_fd.hpp"
#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

class DirtyPagesTest : public testing::TestWithParam<uint64_t> {
  protected:
    DirtyPagesTest() {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
        tap.reset(fds[0]);
        peer.reset(fds[1]);
    }

    uint64_t page_of(const void *host) { return (memory.guest_addr(host, 1).value()) >> 12; }
    bool dirty(uint64_t page) const { return (bitmap[page / 8] >> (page % 8) & 1) != 0; }

    GuestRam ram{0x10'0000};
    GuestMemory memory{{ram.region()}};
    std::vector<uint8_t> bitmap = std::vector<uint8_t>(4096);
    DirtyLog log{bitmap.data(), bitmap.size()};
    QueueCounters counters;
    Complaints complaints{"test"};
    uint64_t features = GetParam() | bit(VIRTIO_NET_F_MRG_RXBUF);
    std::unique_ptr<Driver> driver = make_driver(ram, 8, features);
    Caller caller;
    Ring ring{0, driver->setup, features, memory, log, counters, complaints, caller};
    UniqueFd tap, peer;
};

TEST_P(DirtyPagesTest, BuffersThatWereFilledAndTheRingAreMarkedAndNothingElse) {
    const uint64_t untouched = ram.allocate(4096, 4096);
    const uint64_t buffers = ram.allocate(4 * 4096, 4096);
    for (unsigned n = 0; n < 4; n++) {
        driver->add({{buffers + n * 4096, 4096, true}});
    }
    Receiver receiver(ring, tap.get(), features);
    const std::vector<uint8_t> frame(12 + 6000);
    ASSERT_GT(send(peer.get(), frame.data(), frame.size(), 0), 0);
    unsigned frames = 0;
    receiver.burst(true, frames);
    ASSERT_EQ(frames, 1U);
    EXPECT_TRUE(dirty(buffers >> 12));
    EXPECT_TRUE(dirty((buffers >> 12) + 1));
    EXPECT_FALSE(dirty((buffers >> 12) + 2));  // fetched, not filled
    EXPECT_FALSE(dirty(untouched >> 12));
    const bool packed = (features & bit(VIRTIO_F_RING_PACKED)) != 0;
    EXPECT_TRUE(dirty(page_of(packed ? driver->setup.desc : driver->setup.device)));
}

TEST_P(DirtyPagesTest, AskingForKicksMarksWhereItIsSaid) {
    ring.queue().enable_kicks();
    EXPECT_TRUE(dirty(page_of(driver->setup.device)));
}

INSTANTIATE_TEST_SUITE_P(Formats, DirtyPagesTest,
                         testing::Values(split_flags, split_event, packed_flags, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
