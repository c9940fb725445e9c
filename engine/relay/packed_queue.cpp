// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/packed_queue.hpp"

#include "engine/relay/features.hpp"
#include "engine/relay/shared_memory.hpp"

namespace vdpa::engine::relay {

namespace {

constexpr uint16_t avail_bit = 1U << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t used_bit = 1U << VRING_PACKED_DESC_F_USED;

/* A descriptor is available when its AVAIL bit equals the driver's wrap counter and USED does not
 * (2.8.1). */
bool is_available(uint16_t flags, bool wrap) {
    return ((flags & avail_bit) != 0) == wrap && ((flags & used_bit) != 0) != wrap;
}

bool aligned(const void *pointer, size_t to) {
    return reinterpret_cast<uintptr_t>(pointer) % to == 0;
}

}  // namespace

void PackedQueue::Place::advance(uint16_t slots, uint16_t size) {
    const uint32_t next = uint32_t{index} + slots;
    wrap = next >= size ? !wrap : wrap;
    index = static_cast<uint16_t>(next >= size ? next - size : next);
}

void PackedQueue::Place::retreat(uint16_t slots, uint16_t size) {
    wrap = slots > index ? !wrap : wrap;
    index = static_cast<uint16_t>(slots > index ? index + size - slots : index - slots);
}

std::unique_ptr<Virtqueue> PackedQueue::make(const RingSetup &setup, uint64_t features,
                                             const GuestMemory &memory, const DirtyLog &log) {
    if (setup.size == 0 || setup.size > 32768 || setup.desc == nullptr || setup.driver == nullptr ||
        setup.device == nullptr) {
        return nullptr;
    }
    constexpr uint16_t index_bits = 0x7fff;
    const auto desc = memory.guest_addr(setup.desc, setup.size * sizeof(vring_packed_desc));
    const auto driver = memory.guest_addr(setup.driver, sizeof(vring_packed_desc_event));
    const auto device = memory.guest_addr(setup.device, sizeof(vring_packed_desc_event));
    if (!desc || !driver || !device || !aligned(setup.desc, 16) || !aligned(setup.driver, 4) ||
        !aligned(setup.device, 4) || (setup.next_avail & index_bits) >= setup.size ||
        (setup.next_used & index_bits) >= setup.size) {
        return nullptr;
    }
    return std::unique_ptr<Virtqueue>(new PackedQueue(setup, has(features, VIRTIO_RING_F_EVENT_IDX),
                                                      memory, log,
                                                      {.desc = *desc, .device_event = *device}));
}

PackedQueue::PackedQueue(const RingSetup &setup, bool event_idx, const GuestMemory &memory,
                         const DirtyLog &log, const GuestAddresses &addresses)
    : desc_(static_cast<vring_packed_desc *>(setup.desc)),
      driver_event_(static_cast<const vring_packed_desc_event *>(setup.driver)),
      device_event_(static_cast<vring_packed_desc_event *>(setup.device)),
      memory_(memory),
      log_(log),
      guest_addr_(addresses),
      size_(static_cast<uint16_t>(setup.size)),
      event_idx_(event_idx),
      next_avail_{static_cast<uint16_t>(setup.next_avail & 0x7fff), setup.next_avail >> 15 != 0},
      next_used_{static_cast<uint16_t>(setup.next_used & 0x7fff), setup.next_used >> 15 != 0} {}

bool PackedQueue::available() const {
    return is_available(load_acquire(desc_[next_avail_.index].flags), next_avail_.wrap);
}

Fetch PackedQueue::fetch(Chain &chain, Segments &segments) {
    if (!available()) {
        return Fetch::empty;
    }
    chain = {};
    Place place = next_avail_;
    for (unsigned count = 0; count < size_ && count < max_chain_descriptors; count++) {
        // The driver writes the flags of the first descriptor of a chain last (2.8.6), hence
        // there is no need to look whether the others are available.
        const auto desc = copy_in<vring_packed_desc>(&desc_[place.index]);
        place.advance(1, size_);
        chain.slots++;
        chain.id = desc.id;
        const bool more = (desc.flags & VRING_DESC_F_NEXT) != 0;
        if ((desc.flags & VRING_DESC_F_INDIRECT) != 0) {
            // An indirect descriptor is a chain by itself (2.8.7).
            if (more || chain.slots != 1 || !follow_indirect(desc, chain, segments)) {
                return Fetch::broken;
            }
        } else if (!add_buffer(memory_, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0,
                               chain, segments)) {
            return Fetch::broken;
        }
        if (!more) {
            next_avail_ = place;
            return Fetch::ok;
        }
    }
    return Fetch::broken;  // a loop
}

bool PackedQueue::follow_indirect(const vring_packed_desc &outer, Chain &chain,
                                  Segments &segments) {
    const uint32_t entries = outer.len / sizeof(vring_packed_desc);
    uint64_t there = outer.len;
    const uint8_t *table = memory_.at(outer.addr, there);
    if (table == nullptr || there != outer.len || outer.len % sizeof(vring_packed_desc) != 0 ||
        entries == 0 || entries > max_chain_descriptors) {
        return false;
    }
    for (uint32_t index = 0; index < entries; index++) {
        // Of the flags only WRITE means something here (2.8.7), but a table in a table is
        // a mistake that is better seen than followed.
        const auto desc = copy_in<vring_packed_desc>(table + index * sizeof(vring_packed_desc));
        if ((desc.flags & VRING_DESC_F_INDIRECT) != 0 ||
            !add_buffer(memory_, desc.addr, desc.len, (desc.flags & VRING_DESC_F_WRITE) != 0, chain,
                        segments)) {
            return false;
        }
    }
    return true;
}

void PackedQueue::unfetch(const Chain &chain) {
    next_avail_.retreat(chain.slots, size_);
}

uint16_t PackedQueue::used_flags(const Place &place, bool written) const {
    const uint16_t mark = place.wrap ? avail_bit | used_bit : 0;
    return static_cast<uint16_t>(mark | (written ? VRING_DESC_F_WRITE : 0));
}

void PackedQueue::use(const Chain &chain, uint32_t written) {
    vring_packed_desc &desc = desc_[next_used_.index];
    store_relaxed(desc.id, chain.id);
    store_relaxed(desc.len, written);
    const uint16_t flags = used_flags(next_used_, written != 0);
    if (pending_) {
        // Not seen yet: the driver looks at the first one of the batch before.
        store_release(desc.flags, flags);
    } else {
        pending_ = true;
        pending_first_ = next_used_;
        pending_flags_ = flags;
    }
    log_desc(next_used_.index);
    next_used_.advance(chain.slots, size_);
}

bool PackedQueue::publish() {
    if (!pending_) {
        return false;
    }
    pending_ = false;
    store_release(desc_[pending_first_.index].flags, pending_flags_);
    log_desc(pending_first_.index);
    return wants_interrupt(pending_first_);
}

bool PackedQueue::wants_interrupt(const Place &before) {
    full_barrier();  // the flags before the look at what the driver wants
    const bool known = signalled_valid_;
    signalled_valid_ = true;
    const uint16_t flags = load_acquire(driver_event_->flags);
    if (!event_idx_ || flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    // Indices are compared in the lap of next_used_ (2.8.10, and vring_packed's
    // virtqueue_kick_prepare in the kernel, which is the same from the other side).
    const uint16_t off_wrap = load_relaxed(driver_event_->off_wrap);
    auto event = static_cast<uint16_t>(off_wrap & 0x7fff);
    if ((off_wrap >> 15 != 0) != next_used_.wrap) {
        event = static_cast<uint16_t>(event - size_);
    }
    const auto old =
        static_cast<uint16_t>(before.wrap == next_used_.wrap ? before.index : before.index - size_);
    return !known || passes(event, next_used_.index, old);
}

void PackedQueue::enable_kicks() {
    if (event_idx_) {
        store_relaxed(device_event_->off_wrap, next_avail_.packed());
        store_release(device_event_->flags, uint16_t{VRING_PACKED_EVENT_FLAG_DESC});
    } else {
        store_relaxed(device_event_->flags, uint16_t{VRING_PACKED_EVENT_FLAG_ENABLE});
    }
    log_event();
    full_barrier();  // before the caller's look at available()
}

void PackedQueue::disable_kicks() {
    if (load_relaxed(device_event_->flags) != VRING_PACKED_EVENT_FLAG_DISABLE) {
        store_relaxed(device_event_->flags, uint16_t{VRING_PACKED_EVENT_FLAG_DISABLE});
        log_event();
    }
}

void PackedQueue::log_desc(uint16_t index) const {
    if (log_) {
        log_.mark(guest_addr_.desc + index * sizeof(vring_packed_desc), sizeof(vring_packed_desc));
    }
}

void PackedQueue::log_event() const {
    if (log_) {
        log_.mark(guest_addr_.device_event, sizeof(vring_packed_desc_event));
    }
}

}  // namespace vdpa::engine::relay
