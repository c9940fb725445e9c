// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/virtqueue.hpp"

#include <algorithm>

#include "engine/relay/features.hpp"
#include "engine/relay/packed_queue.hpp"
#include "engine/relay/split_queue.hpp"

namespace vdpa::engine::relay {

void Segments::add(void *host, uint64_t guest, size_t len) {
    if (end_ == room - 1) {
        const size_t count = end_ - begin_;
        std::copy_n(iov_.data() + begin_, count, iov_.data() + 1);
        std::copy_n(guest_addr_.data() + begin_, count, guest_addr_.data() + 1);
        begin_ = 1;
        end_ = 1 + count;
    }
    iov_[end_] = {.iov_base = host, .iov_len = len};
    guest_addr_[end_] = guest;
    end_++;
}

bool add_buffer(const GuestMemory &memory, uint64_t addr, uint32_t len, bool writable, Chain &chain,
                Segments &segments) {
    if (!writable && chain.writable != 0) {
        return false;
    }
    (writable ? chain.writable : chain.readable) += len;
    uint64_t left = len;
    while (left != 0) {  // guest memory may go on in another region
        uint64_t here = left;
        void *host = memory.at(addr, here);
        if (host == nullptr) {
            return false;
        }
        if (segments.full()) {
            chain.cut = true;
        } else {
            segments.add(host, addr, here);
            chain.segments++;
        }
        addr += here;
        left -= here;
    }
    return true;
}

std::unique_ptr<Virtqueue> make_virtqueue(const RingSetup &setup, uint64_t features,
                                          const GuestMemory &memory, const DirtyLog &log) {
    if (has(features, VIRTIO_F_RING_PACKED)) {
        return PackedQueue::make(setup, features, memory, log);
    }
    return SplitQueue::make(setup, features, memory, log);
}

}  // namespace vdpa::engine::relay
