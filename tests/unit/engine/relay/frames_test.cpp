// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <csignal>
#include <cstring>
#include <numeric>

#include "engine/relay/features.hpp"
#include "engine/relay/receiver.hpp"
#include "engine/relay/transmitter.hpp"
#include "schema/support/unique_fd.hpp"
#include "tests/unit/engine/relay/driver.hpp"

/* Frames between a ring and the TAP, where a socket that keeps messages apart stands for the TAP:
 * it too cuts off what does not fit a read, and says EAGAIN when it has nothing. */
namespace vdpa::engine::relay {
namespace {

using namespace test;

using Bytes = std::vector<uint8_t>;

constexpr uint64_t all_features = bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) |
                                  bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO4) |
                                  bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_F_VERSION_1);

class FramesTest : public testing::TestWithParam<uint64_t> {
  protected:
    FramesTest() {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
        tap.reset(fds[0]);
        peer.reset(fds[1]);
        const int room = 1 << 20;
        for (const int fd : fds) {
            setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
        }
        open(64, GetParam() | all_features);
    }

    void open(uint16_t size, uint64_t negotiated) {
        features = negotiated;
        driver = make_driver(ram, size, features);
        driver->setup.call_fd = call.get();
        ring = std::make_unique<Ring>(0, driver->setup, features, memory, DirtyLog{}, counters,
                                      complaints, caller);
        transmitter = std::make_unique<Transmitter>(*ring, tap.get(), features);
        receiver = std::make_unique<Receiver>(*ring, tap.get(), features);
    }

    Bytes at_peer() {
        Bytes message(1 << 17);
        const ssize_t got = recv(peer.get(), message.data(), message.size(), 0);
        message.resize(got < 0 ? 0 : static_cast<size_t>(got));
        return message;
    }
    void from_peer(const Bytes &message) {
        ASSERT_EQ(send(peer.get(), message.data(), message.size(), 0),
                  static_cast<ssize_t>(message.size()));
    }
    /* Header and frame with numbers in it. */
    static Bytes frame(size_t size, size_t header = 12) {
        Bytes bytes(header + size);
        std::iota(bytes.begin() + static_cast<ssize_t>(header), bytes.end(), uint8_t{1});
        return bytes;
    }
    uint64_t in_guest(const Bytes &bytes) {
        const uint64_t addr = ram.allocate(bytes.size());
        std::memcpy(ram.host(addr), bytes.data(), bytes.size());
        return addr;
    }
    std::vector<uint64_t> post(unsigned count, uint32_t size) {
        std::vector<uint64_t> buffers;
        for (unsigned n = 0; n < count; n++) {
            buffers.push_back(ram.allocate(size));
            driver->add({{buffers.back(), size, true}});
        }
        return buffers;
    }
    Receiver::Result receive(bool insist = false) { return receiver->burst(insist, frames); }
    QueueStats stats() const { return counters.read(); }

    GuestRam ram;
    GuestMemory memory{{ram.region()}};
    UniqueFd tap, peer, call{eventfd(0, EFD_NONBLOCK)};
    QueueCounters counters;
    Complaints complaints{"test"};
    Caller caller;
    uint64_t features = 0;
    std::unique_ptr<Driver> driver;
    std::unique_ptr<Ring> ring;
    std::unique_ptr<Transmitter> transmitter;
    std::unique_ptr<Receiver> receiver;
    Segments scratch;
    unsigned frames = 0;
};

TEST_P(FramesTest, AFrameOfTheGuestReachesTheTap) {
    const Bytes bytes = frame(100);
    const uint16_t id =
        driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_EQ(at_peer(), bytes);
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().packets, 1U);
    EXPECT_EQ(stats().bytes, 100U);
}

TEST_P(FramesTest, TheHeaderMayBeCutAnywhere) {
    const Bytes bytes = frame(100);
    const uint64_t addr = in_guest(bytes);
    for (const uint32_t cut : {1U, 11U, 12U, 13U, 100U}) {
        driver->add(
            {{addr, cut, false}, {addr + cut, static_cast<uint32_t>(bytes.size()) - cut, false}});
        transmitter->burst(scratch);
        EXPECT_EQ(at_peer(), bytes) << cut;
        driver->take_used();
    }
}

TEST_P(FramesTest, ASegmentationHeaderPassesUnchanged) {
    Bytes bytes = frame(60'000);
    const virtio_net_hdr header{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                .hdr_len = 66,
                                .gso_size = 1448,
                                .csum_start = 34,
                                .csum_offset = 16};
    std::memcpy(bytes.data(), &header, sizeof header);
    const uint64_t addr = in_guest(bytes);
    driver->add({{addr, 12, false}, {addr + 12, 30'000, false}, {addr + 30'012, 30'000, false}},
                true);
    transmitter->burst(scratch);
    EXPECT_EQ(at_peer(), bytes);
}

TEST_P(FramesTest, AHeaderThatWasNotNegotiatedIsCleared) {
    open(64, GetParam() | bit(VIRTIO_F_VERSION_1));
    Bytes bytes = frame(100);
    std::fill_n(bytes.begin(), 10, uint8_t{0xff});
    driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    transmitter->burst(scratch);
    const Bytes sent = at_peer();
    ASSERT_EQ(sent.size(), bytes.size());
    EXPECT_EQ(Bytes(sent.begin(), sent.begin() + 10), Bytes(10));
    EXPECT_EQ(Bytes(sent.begin() + 12, sent.end()), Bytes(bytes.begin() + 12, bytes.end()));
}

TEST_P(FramesTest, ALegacyHeaderIsTenBytes) {
    open(64, GetParam() & ~bit(VIRTIO_F_VERSION_1));
    const Bytes bytes = frame(100, 10);
    driver->add({{in_guest(bytes), static_cast<uint32_t>(bytes.size()), false}});
    transmitter->burst(scratch);
    EXPECT_EQ(at_peer(), bytes);
    EXPECT_EQ(stats().bytes, 100U);
}

TEST_P(FramesTest, AFrameTooShortForEthernetIsDroppedAndGivenBack) {
    const uint16_t id = driver->add({{in_guest(frame(13)), 25, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_bad_descriptor, 1U);
    EXPECT_FALSE(stats().broken);
}

TEST_P(FramesTest, AFrameBeyond64KiBIsDroppedAndGivenBack) {
    const uint32_t size = 12 + max_frame_size + 1;
    const uint16_t id = driver->add({{ram.allocate(size), size, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_too_big, 1U);
}

TEST_P(FramesTest, AFrameInTooManyPiecesIsDroppedAndGivenBack) {
    const uint64_t addr = ram.allocate(1024);
    const uint16_t id =
        driver->add(std::vector<Buffer>(Segments::capacity + 1, Buffer{addr, 1, false}), true);
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_TRUE(at_peer().empty());
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_too_big, 1U);
}

TEST_P(FramesTest, AFrameThatTheTapRefusesIsDroppedAndGivenBack) {
    peer.reset();
    signal(SIGPIPE, SIG_IGN);
    const uint16_t id = driver->add({{in_guest(frame(100)), 112, false}});
    EXPECT_EQ(transmitter->burst(scratch), 1U);
    EXPECT_EQ(driver->take_used(), (Used{id, 0}));
    EXPECT_EQ(stats().drops_tap_error, 1U);
    EXPECT_EQ(stats().packets, 0U);
}

TEST_P(FramesTest, ATransmitChainToWriteToBreaksTheRing) {
    driver->add({{ram.allocate(200), 200, true}});
    transmitter->burst(scratch);
    EXPECT_TRUE(stats().broken);
    EXPECT_EQ(stats().drops_bad_descriptor, 1U);
    EXPECT_FALSE(driver->take_used());
}

TEST_P(FramesTest, ABurstEndsWithOneInterruptForAll) {
    driver->interrupts(true);
    for (int n = 0; n < 20; n++) {
        driver->add({{in_guest(frame(100)), 112, false}});
    }
    EXPECT_EQ(transmitter->burst(scratch), 20U);
    eventfd_t count = 0;
    EXPECT_EQ(eventfd_read(call.get(), &count), 0);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(stats().interrupts, 1U);
}

TEST_P(FramesTest, ABurstLeavesTheRestForTheNextTurn) {
    open(256, GetParam() | all_features);
    const uint64_t addr = in_guest(frame(100));
    for (unsigned n = 0; n < burst_frames + 10; n++) {
        driver->add({{addr, 112, false}});
    }
    EXPECT_EQ(transmitter->burst(scratch), burst_frames);
    EXPECT_EQ(transmitter->burst(scratch), 10U);
}

TEST_P(FramesTest, AFrameForTheGuestFillsOneBuffer) {
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

TEST_P(FramesTest, ALongFrameFillsAsManyBuffersAsItTakes) {
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

TEST_P(FramesTest, ManyFramesPassInOrder) {
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

TEST_P(FramesTest, NothingIsTakenFromTheRingWhenTheTapHasNothing) {
    post(64, 1600);
    const uint16_t before = ring->position();
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(ring->position(), before);
    EXPECT_FALSE(driver->take_used());
}

TEST_P(FramesTest, FramesWaitWhileTheGuestIsShortOfBuffers) {
    post(5, 1600);
    from_peer(frame(100));
    EXPECT_EQ(receive(), Receiver::Result::no_space);
    EXPECT_EQ(frames, 0U);
    post(40, 1600);
    EXPECT_EQ(receive(), Receiver::Result::drained);
    EXPECT_EQ(frames, 1U);
    EXPECT_EQ(stats().drops_no_buffer, 0U);
}

TEST_P(FramesTest, InsistingTriesWhatIsThere) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    EXPECT_EQ(frames, 1U);
}

TEST_P(FramesTest, AFrameLongerThanAllThatTheGuestPostedIsDropped) {
    post(5, 1600);
    from_peer(frame(60'000));
    EXPECT_EQ(receive(true), Receiver::Result::drained);
    EXPECT_EQ(frames, 0U);
    EXPECT_EQ(stats().drops_no_buffer, 1U);
}

TEST_P(FramesTest, AGuestThatWasSeenToPostFewBuffersIsNotWaitedForAgain) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    post(1, 1600);
    from_peer(frame(100));
    receive();
    EXPECT_EQ(frames, 1U);
}

TEST_P(FramesTest, AGuestThatPostsEnoughAgainIsWaitedForAgain) {
    post(5, 1600);
    from_peer(frame(100));
    receive(true);
    post(45, 1600);
    from_peer(frame(60'000));
    EXPECT_EQ(receive(), Receiver::Result::no_space);  // after the long one, few are left
    EXPECT_EQ(frames, 1U);
}

TEST_P(FramesTest, InsistingOnNoBufferLeavesTheFrameWhereItIs) {
    from_peer(frame(100));
    EXPECT_EQ(receive(true), Receiver::Result::no_space);
    EXPECT_FALSE(receiver->has_buffers());
    EXPECT_EQ(stats().drops_no_buffer, 0U);
}

TEST_P(FramesTest, WithoutMergeableBuffersAFrameThatFillsItsBufferPasses) {
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

TEST_P(FramesTest, ABufferInPiecesIsFilledPieceByPiece) {
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

TEST_P(FramesTest, ALegacyGuestGetsATenByteHeader) {
    open(64, GetParam() & ~(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF)));
    const auto buffers = post(1, 1600);
    const Bytes bytes = frame(60, 10);
    from_peer(bytes);
    receive();
    ASSERT_EQ(driver->take_used()->len, 70U);
    const auto got = ram.bytes(buffers[0], 70);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes.begin()));
}

TEST_P(FramesTest, AGuestWithoutChecksumOffloadGetsNoFlags) {
    open(64, GetParam() | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF));
    const auto buffers = post(64, 1600);
    Bytes bytes = frame(60);
    bytes[0] = VIRTIO_NET_HDR_F_DATA_VALID;
    from_peer(bytes);
    receive();
    ASSERT_TRUE(driver->take_used());
    EXPECT_EQ(*ram.host(buffers[0]), 0);
}

TEST_P(FramesTest, AReceiveBufferToReadFromBreaksTheRing) {
    driver->add({{ram.allocate(1600), 1600, false}});
    from_peer(frame(60));
    EXPECT_EQ(receive(), Receiver::Result::broken);
    EXPECT_TRUE(stats().broken);
}

TEST_P(FramesTest, AReceiveBufferTooSmallForTheHeaderBreaksTheRing) {
    for (const uint32_t size : {0U, 11U}) {
        open(64, GetParam() | all_features);
        driver->add({{ram.allocate(16), size, true}});
        from_peer(frame(60));
        EXPECT_EQ(receive(), Receiver::Result::broken) << size;
    }
}

TEST_P(FramesTest, TinyBuffersDoNotStallTheRing) {
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

INSTANTIATE_TEST_SUITE_P(Formats, FramesTest, testing::Values(split_event, packed_event),
                         FormatName());

}  // namespace
}  // namespace vdpa::engine::relay
