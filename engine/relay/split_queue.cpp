// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/split_queue.hpp"

#include <bit>

#include "engine/relay/features.hpp"
#include "engine/relay/shared_memory.hpp"

namespace vdpa::engine::relay {

namespace {

/* The used_event and avail_event fields stand behind the last element (2.7.6, 2.7.8). */
uint16_t &used_event(vring_avail &avail, uint32_t size) {
    return avail.ring[size];
}

uint16_t &avail_event(vring_used &used, uint32_t size) {
    void *behind = &used.ring[size];
    return *static_cast<uint16_t *>(behind);
}

template <typename T>
bool aligned(const void *pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % alignof(T) == 0;
}

}  // namespace

std::unique_ptr<Virtqueue> SplitQueue::make(const RingSetup &setup, uint64_t features,
                                            const GuestMemory &memory, const DirtyLog &log) {
    if (setup.size > 32768 || !std::has_single_bit(setup.size) || setup.desc == nullptr ||
        setup.driver == nullptr || setup.device == nullptr) {
        return nullptr;
    }
    const bool event_idx = has(features, VIRTIO_RING_F_EVENT_IDX);
    const uint64_t event_size = event_idx ? sizeof(uint16_t) : 0;
    const uint64_t desc_size = setup.size * sizeof(vring_desc);
    const uint64_t avail_size = sizeof(vring_avail) + setup.size * sizeof(uint16_t) + event_size;
    const uint64_t used_size =
        sizeof(vring_used) + setup.size * sizeof(vring_used_elem) + event_size;
    const auto used_guest_addr = memory.guest_addr(setup.device, used_size);
    if (!memory.guest_addr(setup.desc, desc_size) || !memory.guest_addr(setup.driver, avail_size) ||
        !used_guest_addr || !aligned<vring_desc_t>(setup.desc) ||
        !aligned<vring_avail_t>(setup.driver) || !aligned<vring_used_t>(setup.device)) {
        return nullptr;
    }
    return std::unique_ptr<Virtqueue>(
        new SplitQueue(setup, event_idx, memory, log, *used_guest_addr));
}

SplitQueue::SplitQueue(const RingSetup &setup, bool event_idx, const GuestMemory &memory,
                       const DirtyLog &log, uint64_t used_guest_addr)
    : desc_(static_cast<const vring_desc *>(setup.desc)),
      avail_(static_cast<vring_avail *>(setup.driver)),
      used_(static_cast<vring_used *>(setup.device)),
      memory_(memory),
      log_(log),
      used_guest_addr_(used_guest_addr),
      size_(setup.size),
      mask_(static_cast<uint16_t>(setup.size - 1)),
      event_idx_(event_idx),
      next_avail_(setup.next_avail),
      next_used_(setup.next_used),
      published_(setup.next_used) {}

bool SplitQueue::available() const {
    return load_acquire(avail_->idx) != next_avail_;
}

Fetch SplitQueue::fetch(Chain &chain, Segments &segments) {
    const uint16_t avail_idx = load_acquire(avail_->idx);
    if (avail_idx == next_avail_) {
        return Fetch::empty;
    }
    // A driver cannot have made more available than the ring holds beside what it was not given
    // back.
    const auto outstanding = static_cast<uint16_t>(avail_idx - next_used_);
    if (outstanding > size_) {
        return Fetch::broken;
    }
    const uint16_t head = load_relaxed(avail_->ring[next_avail_ & mask_]);
    const Fetch result = follow(head, chain, segments);
    if (result == Fetch::ok) {
        next_avail_++;
    }
    return result;
}

Fetch SplitQueue::follow(uint16_t head, Chain &chain, Segments &segments) {
    chain = {.id = head, .slots = 1};
    uint16_t index = head;
    for (unsigned count = 0; count < size_ && count < max_chain_descriptors; count++) {
        if (index >= size_) {
            return Fetch::broken;
        }
        const auto desc = copy_in<vring_desc>(&desc_[index]);
        if ((desc.flags & VRING_DESC_F_INDIRECT) != 0) {
            // An indirect descriptor ends the chain (2.7.5.3.1).
            const bool good =
                (desc.flags & VRING_DESC_F_NEXT) == 0 && follow_indirect(desc, chain, segments);
            return good ? Fetch::ok : Fetch::broken;
        }
        if (!add_buffer(memory_, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0, chain,
                        segments)) {
            return Fetch::broken;
        }
        if ((desc.flags & VRING_DESC_F_NEXT) == 0) {
            return Fetch::ok;
        }
        index = desc.next;
    }
    return Fetch::broken;  // a loop
}

bool SplitQueue::follow_indirect(const vring_desc &outer, Chain &chain, Segments &segments) {
    const uint32_t entries = outer.len / sizeof(vring_desc);
    uint64_t there = outer.len;
    const uint8_t *table = memory_.at(outer.addr, there);
    if (table == nullptr || there != outer.len || outer.len % sizeof(vring_desc) != 0 ||
        entries == 0) {
        return false;
    }
    uint32_t index = 0;
    for (uint32_t count = 0; count < entries && count < max_chain_descriptors; count++) {
        if (index >= entries) {
            return false;
        }
        const auto desc = copy_in<vring_desc>(table + index * sizeof(vring_desc));
        if ((desc.flags & VRING_DESC_F_INDIRECT) != 0 ||
            !add_buffer(memory_, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0, chain,
                        segments)) {
            return false;
        }
        if ((desc.flags & VRING_DESC_F_NEXT) == 0) {
            return true;
        }
        index = desc.next;
    }
    return false;
}

void SplitQueue::use(const Chain &chain, uint32_t written) {
    vring_used_elem &element = used_->ring[next_used_ & mask_];
    store_relaxed(element.id, uint32_t{chain.id});
    store_relaxed(element.len, written);
    log_used(&element, sizeof element);
    next_used_++;
}

bool SplitQueue::publish() {
    if (next_used_ == published_) {
        return false;
    }
    const uint16_t before = published_;
    published_ = next_used_;
    store_release(used_->idx, published_);
    log_used(&used_->idx, sizeof used_->idx);
    return wants_interrupt(before);
}

bool SplitQueue::wants_interrupt(uint16_t before) {
    full_barrier();  // the index before the look at what the driver wants (2.7.7.2)
    if (!event_idx_) {
        return (load_relaxed(avail_->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
    }
    // After the ring was taken over nobody knows what the driver was told: tell it.
    const bool known = signalled_valid_;
    signalled_valid_ = true;
    return !known || passes(load_relaxed(used_event(*avail_, size_)), published_, before);
}

void SplitQueue::enable_kicks() {
    if (event_idx_) {
        uint16_t &event = avail_event(*used_, size_);
        store_relaxed(event, next_avail_);
        log_used(&event, sizeof event);
    } else {
        store_relaxed(used_->flags, uint16_t{0});
        log_used(&used_->flags, sizeof used_->flags);
    }
    full_barrier();  // before the caller's look at available()
}

void SplitQueue::disable_kicks() {
    // With EVENT_IDX the entry that was asked for is passed already: no kick before 65536 more.
    if (!event_idx_ && load_relaxed(used_->flags) != VRING_USED_F_NO_NOTIFY) {
        store_relaxed(used_->flags, uint16_t{VRING_USED_F_NO_NOTIFY});
        log_used(&used_->flags, sizeof used_->flags);
    }
}

void SplitQueue::log_used(const void *what, size_t len) const {
    if (log_) {
        const auto offset = static_cast<uint64_t>(static_cast<const uint8_t *>(what) -
                                                  reinterpret_cast<const uint8_t *>(used_));
        log_.mark(used_guest_addr_ + offset, len);
    }
}

}  // namespace vdpa::engine::relay
