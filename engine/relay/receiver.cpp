// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/receiver.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "engine/relay/features.hpp"
#include "engine/relay/transmitter.hpp"

namespace vdpa::engine::relay {

namespace {

/* Without segmentation offload a frame is as long as the MTU allows, which may change at any time;
 * 9 KiB is what networks use. Longer ones pass too, if the guest has the buffers. */
constexpr size_t jumbo_frame_size = 9216 + 18;

}  // namespace

Receiver::Receiver(Ring &ring, int tap_fd, uint64_t features)
    : ring_(ring),
      tap_fd_(tap_fd),
      header_size_(net_header_size(features)),
      mergeable_(has(features, VIRTIO_NET_F_MRG_RXBUF)),
      // The kernel says DATA_VALID whether or not TUNSETOFFLOAD was asked for checksums.
      clear_flags_(!has(features, VIRTIO_NET_F_GUEST_CSUM)),
      wanted_(header_size_ +
              (has(features, VIRTIO_NET_F_GUEST_TSO4) || has(features, VIRTIO_NET_F_GUEST_TSO6)
                   ? max_frame_size
                   : jumbo_frame_size)),
      stock_(usual_stock()) {}

size_t Receiver::usual_stock() const {
    // Drivers post buffers again long before half of them are used up.
    return ring_.broken() ? 0 : ring_.queue().size() / 2;
}

bool Receiver::fill() {
    window_full_ = false;
    while (mergeable_ ? bytes_ < wanted_ : chain_count_ == 0) {
        if (segments_.full() || chain_count_ == chains_.size()) {
            window_full_ = true;
            return true;
        }
        Chain next;
        const size_t before = segments_.count();
        const Fetch result = ring_.queue().fetch(next, segments_);
        if (result == Fetch::empty) {
            return true;
        }
        if (result == Fetch::broken || next.readable != 0 || next.writable < header_size_) {
            return false;
        }
        if (next.cut) {
            if (chain_count_ != 0) {
                segments_.drop_back(segments_.count() - before);
                ring_.queue().unfetch(next);
                window_full_ = true;
                return true;
            }
            next.writable = 0;  // a chain of more pieces than we can use: take what we can
            for (size_t n = 0; n < segments_.count(); n++) {
                next.writable += segments_.iov()[n].iov_len;
            }
        }
        chain(chain_count_) = next;
        chain_count_++;
        bytes_ += next.writable;
    }
    if (bytes_ >= wanted_) {
        stock_ = usual_stock();
    }
    return true;
}

bool Receiver::enough() const {
    if (chain_count_ == 0) {
        return false;
    }
    return !mergeable_ || bytes_ >= wanted_ || chain_count_ >= stock_ || window_full_;
}

Receiver::Result Receiver::burst(bool insist, unsigned &frames) {
    Result result = Result::more;
    frames = 0;
    size_t bytes = 0;
    for (unsigned reads = 0; reads < burst_frames && bytes < burst_bytes; reads++) {
        if (!fill()) {
            ring_.mark_broken();
            result = Result::broken;
            break;
        }
        if (insist && reads == 0 && chain_count_ != 0) {
            stock_ = std::min(stock_, chain_count_);
        }
        if (!enough()) {
            result = Result::no_space;
            break;
        }
        size_t moved = 0;
        const Read read = read_frame(moved);
        if (read == Read::nothing) {
            result = Result::drained;
            break;
        }
        bytes += moved;
        frames += read == Read::frame ? 1 : 0;
    }
    ring_.publish();
    return result;
}

Receiver::Read Receiver::read_frame(size_t &moved) {
    QueueCounters &counters = ring_.counters();
    // The kernel says how much it copied, not how much there was. A byte more than the guest's
    // buffers hold tells a frame that fits from one that was cut off.
    uint8_t overflow;
    iovec *iov = segments_.iov();
    const size_t count = segments_.count();
    iov[count] = {.iov_base = &overflow, .iov_len = 1};
    ssize_t got;
    do {
        got = readv(tap_fd_, iov, static_cast<int>(count + 1));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno == EFAULT) {  // the front-end took the memory away; the frame is gone
            counters.tap_error.add(1);
            return Read::dropped;
        }
        return Read::nothing;  // EAGAIN, or EBADFD: the netdev is gone
    }
    const auto size = static_cast<size_t>(got);
    if (size > bytes_ || size < header_size_) {
        (mergeable_ && bytes_ < wanted_ ? counters.no_buffer : counters.too_big).add(1);
        return Read::dropped;
    }
    deliver(size);
    moved = size;
    counters.packets.add(1);
    counters.bytes.add(size - header_size_);
    return Read::frame;
}

void Receiver::deliver(size_t size) {
    uint16_t buffers = 0;
    for (size_t left = size; left != 0; buffers++) {
        left -= std::min<size_t>(left, chain(buffers).writable);
    }
    patch_header(buffers);
    for (size_t left = size; left != 0;) {
        const Chain &done = chain(0);
        const size_t here = std::min<size_t>(left, done.writable);
        ring_.queue().use(done, static_cast<uint32_t>(here));
        if (ring_.log()) {
            for (size_t n = 0, unlogged = here; unlogged != 0; n++) {
                const size_t length = std::min(unlogged, segments_.iov()[n].iov_len);
                ring_.log().mark(segments_.guest_addr()[n], length);
                unlogged -= length;
            }
        }
        left -= here;
        bytes_ -= done.writable;
        segments_.drop_front(done.segments);
        first_chain_ = (first_chain_ + 1) % Segments::capacity;
        chain_count_--;
    }
}

void Receiver::patch_header(uint16_t buffers) {
    if (clear_flags_) {
        const uint8_t none = 0;
        store(offsetof(virtio_net_hdr, flags), &none, sizeof none);
    }
    if (header_size_ == sizeof(virtio_net_hdr_v1)) {
        // Not the kernel's business; it left these bytes out.
        store(offsetof(virtio_net_hdr_v1, num_buffers), &buffers, sizeof buffers);
    }
}

void Receiver::store(size_t offset, const void *from, size_t size) {
    const auto *bytes = static_cast<const uint8_t *>(from);
    for (const iovec *iov = segments_.iov(); size != 0; iov++) {
        if (offset < iov->iov_len) {
            const size_t here = std::min(size, iov->iov_len - offset);
            std::memcpy(static_cast<uint8_t *>(iov->iov_base) + offset, bytes, here);
            bytes += here;
            size -= here;
            offset = 0;
        } else {
            offset -= iov->iov_len;
        }
    }
}

}  // namespace vdpa::engine::relay
