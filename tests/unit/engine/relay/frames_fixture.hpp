// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "engine/relay/features.hpp"
#include "engine/relay/receiver.hpp"
#include "engine/relay/transmitter.hpp"
#include "schema/support/unique_fd.hpp"
#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay::test {

using Bytes = std::vector<uint8_t>;

inline constexpr uint64_t all_features =
    bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) | bit(VIRTIO_NET_F_GUEST_CSUM) |
    bit(VIRTIO_NET_F_GUEST_TSO4) | bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_F_VERSION_1);

/* Frames between a ring and the TAP, where a socket that keeps messages apart stands for the TAP:
 * it too cuts off what does not fit a read, and says EAGAIN when it has nothing. */
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

}  // namespace vdpa::engine::relay::test
