// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/transmitter.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/relay/features.hpp"
#include "engine/relay/shared_memory.hpp"

namespace vdpa::engine::relay {

namespace {

/* Moves the first `size` bytes of the buffers to `to`; the buffers then begin behind them. Returns
 * the number of buffers that became empty. The caller knows that there is as much. */
size_t take_front(iovec *iov, void *to, size_t size) {
    auto *out = static_cast<uint8_t *>(to);
    size_t index = 0;
    while (size != 0) {
        const size_t here = std::min(size, iov[index].iov_len);
        std::memcpy(out, iov[index].iov_base, here);
        out += here;
        size -= here;
        if (here == iov[index].iov_len) {
            index++;
        } else {
            iov[index].iov_base = static_cast<uint8_t *>(iov[index].iov_base) + here;
            iov[index].iov_len -= here;
        }
    }
    return index;
}

}  // namespace

Transmitter::Transmitter(Ring &ring, int tap_fd, uint64_t features)
    : ring_(ring), tap_fd_(tap_fd), features_(features), header_size_(net_header_size(features)) {}

unsigned Transmitter::burst(Segments &scratch) {
    unsigned frames = 0;
    for (size_t bytes = 0; frames < burst_frames && bytes < burst_bytes; frames++) {
        Chain chain;
        scratch.clear();
        const Fetch result = ring_.queue().fetch(chain, scratch);
        if (result == Fetch::empty) {
            break;
        }
        if (result == Fetch::broken || chain.writable != 0) {
            ring_.mark_broken();
            break;
        }
        send(chain, scratch);
        ring_.queue().use(chain, 0);
        bytes += chain.readable;
    }
    ring_.publish();
    return frames;
}

void Transmitter::send(const Chain &chain, Segments &segments) {
    constexpr size_t ethernet_header = 14;
    QueueCounters &counters = ring_.counters();
    if (chain.cut || chain.readable > header_size_ + max_frame_size) {
        counters.too_big.add(1);
        return;
    }
    if (chain.readable < header_size_ + ethernet_header) {
        counters.bad_descriptor.add(1);
        return;
    }
    // The header is looked at and handed over in a copy: the guest can change its own at any time.
    std::array<uint8_t, sizeof(virtio_net_hdr_v1)> bytes{};
    const size_t emptied = take_front(segments.iov(), bytes.data(), header_size_);
    auto header = copy_in<virtio_net_hdr>(bytes.data());
    if (!sanitise(header, features_)) {
        counters.bad_descriptor.add(1);
        return;
    }
    std::memcpy(bytes.data(), &header, sizeof header);
    // In the place of the last that became empty, or in the room before the first.
    iovec *iov = segments.iov() + emptied - 1;
    size_t count = segments.count() - emptied + 1;
    *iov = {.iov_base = bytes.data(), .iov_len = header_size_};
    ssize_t sent;
    do {
        sent = writev(tap_fd_, iov, static_cast<int>(count));
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        // EINVAL: the kernel found that the header and the frame contradict each other.
        (errno == EINVAL ? counters.bad_descriptor : counters.tap_error).add(1);
        return;
    }
    counters.packets.add(1);
    counters.bytes.add(chain.readable - header_size_);
}

}  // namespace vdpa::engine::relay
