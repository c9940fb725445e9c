// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "tests/unit/engine/relay/frames_fixture.hpp"

namespace vdpa::engine::relay {
namespace {

using namespace test;

/* From the TAP to the guest. */
class ReceiverTest : public FramesTest {};

TEST_P(ReceiverTest, AFrameForTheGuestFillsOneBuffer) {
    const auto buffers = post(64, 1600);
    const Bytes bytes = frame(1000);
    from_peer(bytes);
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(frames, 1U);
    const auto used = driver->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->len, 1012U);
    const auto got = ram.bytes(buffers[0], 1012);
    EXPECT_EQ(got[10] + 256 * got[11], 1);  // num_buffers
    EXPECT_TRUE(std::equal(got.begin() + 12, got.end(), bytes.begin() + 12));
    EXPECT_FALSE(driver->take_used());
}

TEST_P(ReceiverTest, ALongFrameFillsAsManyBuffersAsItTakes) {
    const auto buffers = post(64, 1600);
    const Bytes bytes = frame(64'000);
    from_peer(bytes);
    receive();
    EXPECT_EQ(frames, 1U);
    Bytes got;
    unsigned count = 0;
    while (const auto used = driver->take_used()) {
        const auto piece = ram.bytes(buffers[count++], used->len);
        got.insert(got.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(count, 41U);
    ASSERT_EQ(got.size(), bytes.size());
    EXPECT_EQ(got[10] + 256 * got[11], 41);
    EXPECT_TRUE(std::equal(got.begin() + 12, got.end(), bytes.begin() + 12));
}

TEST_P(ReceiverTest, ManyFramesPassInOrder) {
    std::vector<uint64_t> buffer_of(driver->size());
    for (unsigned sent = 0; sent < 1000; sent++) {
        const uint64_t addr = ram.allocate(64);
        buffer_of[driver->add({{addr, 64, true}})] = addr;
        Bytes bytes = frame(20);
        bytes[12] = static_cast<uint8_t>(sent);
        from_peer(bytes);
        receive(true);
        const auto used = driver->take_used();
        ASSERT_TRUE(used) << sent;
        ASSERT_EQ(*ram.host(buffer_of[used->id] + 12), static_cast<uint8_t>(sent));
    }
}

TEST_P(ReceiverTest, NothingIsTakenFromTheRingWhenTheTapHasNothing) {
    post(64, 1600);
    const uint16_t before = ring->position();
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(ring->position(), before);
    EXPECT_FALSE(driver->take_used());
}

TEST_P(ReceiverTest, FramesWaitWhileTheGuestIsShortOfBuffers) {
    post(5, 1600);
    from_peer(frame(100));
    EXPECT_EQ(receive(), Receiver::Result::no_space);
    EXPECT_EQ(frames, 0U);
    post(40, 1600);
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(frames, 1U);
    EXPECT_EQ(stats().drops_no_buffer, 0U);
}

TEST_P(ReceiverTest, InsistingTriesWhatIsThere) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    EXPECT_EQ(frames, 1U);
}

TEST_P(ReceiverTest, AFrameLongerThanAllThatTheGuestPostedIsDropped) {
    post(5, 1600);
    from_peer(frame(60'000));
    EXPECT_EQ(receive(true), Receiver::Result::drained);
    EXPECT_EQ(frames, 0U);
    EXPECT_EQ(stats().drops_no_buffer, 1U);
}

TEST_P(ReceiverTest, AGuestThatWasSeenToPostFewBuffersIsNotWaitedForAgain) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    post(1, 1600);
    from_peer(frame(100));
    receive();
    EXPECT_EQ(frames, 1U);
}

TEST_P(ReceiverTest, AGuestThatPostsEnoughAgainIsWaitedForAgain) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    post(45, 1600);
    from_peer(frame(60'000));
    EXPECT_EQ(receive(), Receiver::Result::no_space);  // after the long one, few are left
    EXPECT_EQ(frames, 1U);
}

TEST_P(ReceiverTest, InsistingOnNoBufferLeavesTheFrameWhereItIs) {
    from_peer(frame(100));
    EXPECT_EQ(receive(true), Receiver::Result::no_space);
    EXPECT_FALSE(receiver->has_buffers());
    EXPECT_EQ(stats().drops_no_buffer, 0U);
}

TEST_P(ReceiverTest, WithoutMergeableBuffersAFrameThatFillsItsBufferPasses) {
    open(64, GetParam() | (all_features & ~bit(VIRTIO_NET_F_MRG_RXBUF)));
    const auto buffers = post(2, 1012);
    from_peer(frame(1000));
    from_peer(frame(1001));
    receive();
    EXPECT_EQ(frames, 1U);
    EXPECT_EQ(stats().drops_too_big, 1U);
    ASSERT_EQ(driver->take_used()->len, 1012U);
    EXPECT_EQ(*ram.host(buffers[0] + 10), 1);  // num_buffers (5.1.6.4.1)
    EXPECT_FALSE(driver->take_used());
}

TEST_P(ReceiverTest, ABufferInPiecesIsFilledPieceByPiece) {
    open(64, GetParam() | (all_features & ~bit(VIRTIO_NET_F_MRG_RXBUF)));
    const uint64_t header = ram.allocate(12);
    const uint64_t first = ram.allocate(40);
    const uint64_t second = ram.allocate(100);
    driver->add({{header, 12, true}, {first, 40, true}, {second, 100, true}});
    const Bytes bytes = frame(60);
    from_peer(bytes);
    receive();
    EXPECT_EQ(driver->take_used()->len, 72U);
    EXPECT_EQ(*ram.host(first), bytes[12]);
    EXPECT_EQ(*ram.host(second), bytes[52]);
}

TEST_P(ReceiverTest, ALegacyGuestGetsATenByteHeader) {
    open(64, GetParam() & ~(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF)));
    const auto buffers = post(1, 1600);
    const Bytes bytes = frame(60, 10);
    from_peer(bytes);
    receive();
    ASSERT_EQ(driver->take_used()->len, 70U);
    const auto got = ram.bytes(buffers[0], 70);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes.begin()));
}

TEST_P(ReceiverTest, AGuestWithoutChecksumOffloadGetsNoFlags) {
    open(64, GetParam() | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF));
    const auto buffers = post(64, 1600);
    Bytes bytes = frame(60);
    bytes[0] = VIRTIO_NET_HDR_F_DATA_VALID;
    from_peer(bytes);
    receive();
    ASSERT_TRUE(driver->take_used());
    EXPECT_EQ(*ram.host(buffers[0]), 0);
}

TEST_P(ReceiverTest, AReceiveBufferToReadFromBreaksTheRing) {
    driver->add({{ram.allocate(1600), 1600, false}});
    from_peer(frame(60));
    EXPECT_EQ(receive(), Receiver::Result::broken);
    EXPECT_TRUE(stats().broken);
}

TEST_P(ReceiverTest, AReceiveBufferTooSmallForTheHeaderBreaksTheRing) {
    for (const uint32_t size : {0U, 11U}) {
        open(64, GetParam() | all_features);
        driver->add({{ram.allocate(16), size, true}});
        from_peer(frame(60));
        EXPECT_EQ(receive(), Receiver::Result::broken) << size;
    }
}

TEST_P(ReceiverTest, TinyBuffersDoNotStallTheRing) {
    // More pieces than one read takes: the guest may have posted any number, so frames are tried.
    const uint64_t addr = ram.allocate(64);
    for (int n = 0; n < 3; n++) {
        driver->add(std::vector<Buffer>(300, Buffer{addr, 4, true}), true);
    }
    from_peer(frame(100));
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(frames, 1U);
    ASSERT_EQ(driver->take_used()->len, 112U);
}

INSTANTIATE_TEST_SUITE_P(Formats, ReceiverTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
