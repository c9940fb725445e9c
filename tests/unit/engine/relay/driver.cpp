// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/relay/driver.hpp"

#include <stdexcept>

#include "engine/relay/shared_memory.hpp"

namespace vdpa::engine::relay::test {

namespace {

constexpr uint16_t avail_bit = 1U << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t used_bit = 1U << VRING_PACKED_DESC_F_USED;

uint16_t as_u16(size_t value) {
    return static_cast<uint16_t>(value);
}

}  // namespace

GuestRam::GuestRam(uint64_t guest_base, size_t size)
    : base_(guest_base), bytes_(size / sizeof(Page)) {}

uint64_t GuestRam::allocate(size_t size, size_t alignment) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    if (used_ + size > bytes_.size() * sizeof(Page)) {
        throw std::length_error("the test's guest has too little memory");
    }
    const uint64_t addr = base_ + used_;
    used_ += size;
    return addr;
}

std::unique_ptr<Driver> make_driver(GuestRam &ram, uint16_t size, uint64_t features) {
    const bool event_idx = (features & bit(VIRTIO_RING_F_EVENT_IDX)) != 0;
    if ((features & bit(VIRTIO_F_RING_PACKED)) != 0) {
        return std::make_unique<PackedDriver>(ram, size, event_idx);
    }
    return std::make_unique<SplitDriver>(ram, size, event_idx);
}

SplitDriver::SplitDriver(GuestRam &ram, uint16_t size, bool event_idx)
    : ram_(ram), event_idx_(event_idx), chains_(size) {
    setup.desc = ram.host(ram.allocate(size * sizeof(vring_desc), 16));
    setup.driver = ram.host(ram.allocate(6U + 2U * size));
    setup.device = ram.host(ram.allocate(6U + 8U * size));
    setup.size = size;
    desc = static_cast<vring_desc *>(setup.desc);
    avail = static_cast<vring_avail *>(setup.driver);
    used = static_cast<vring_used *>(setup.device);
    for (uint16_t n = 0; n < size; n++) {
        free_.push_back(as_u16(size - 1U - n));
    }
}

uint16_t SplitDriver::add(const std::vector<Buffer> &chain, bool indirect) {
    vring_desc *table = desc;
    std::vector<uint16_t> taken;
    if (indirect) {
        const uint64_t addr = ram_.allocate(chain.size() * sizeof(vring_desc), 16);
        table = reinterpret_cast<vring_desc *>(ram_.host(addr));
        taken.push_back(free_.back());
        free_.pop_back();
        desc[taken[0]] = {.addr = addr,
                          .len = static_cast<uint32_t>(chain.size() * sizeof(vring_desc)),
                          .flags = VRING_DESC_F_INDIRECT,
                          .next = 0};
    }
    std::vector<uint16_t> places;
    for (size_t n = 0; n < chain.size(); n++) {
        if (indirect) {
            places.push_back(as_u16(n));
        } else {
            places.push_back(free_.back());
            free_.pop_back();
        }
    }
    for (size_t n = 0; n < chain.size(); n++) {
        const bool last = n + 1 == chain.size();
        table[places[n]] = {.addr = chain[n].addr,
                            .len = chain[n].len,
                            .flags = as_u16((chain[n].writable ? VRING_DESC_F_WRITE : 0U) |
                                            (last ? 0U : VRING_DESC_F_NEXT)),
                            .next = last ? uint16_t{0} : places[n + 1]};
    }
    if (!indirect) {
        taken = places;
    }
    const uint16_t head = taken[0];
    chains_[head] = taken;
    expose(head);
    return head;
}

void SplitDriver::expose(uint16_t head) {
    store_relaxed(avail->ring[avail_idx_ % setup.size], head);
    avail_idx_++;
    store_release(avail->idx, avail_idx_);
}

std::optional<Used> SplitDriver::take_used() {
    if (load_acquire(used->idx) == taken_) {
        return std::nullopt;
    }
    const vring_used_elem &element = used->ring[taken_ % setup.size];
    const Used result{as_u16(load_relaxed(element.id)), load_relaxed(element.len)};
    taken_++;
    if (event_idx_ && load_relaxed(avail->flags) == 0) {
        store_relaxed(avail->ring[setup.size], taken_);
        full_barrier();
    }
    free_.insert(free_.end(), chains_.at(result.id).begin(), chains_.at(result.id).end());
    chains_.at(result.id).clear();
    return result;
}

bool SplitDriver::must_kick() {
    full_barrier();
    const uint16_t before = kicked_;
    kicked_ = avail_idx_;
    if (before == avail_idx_) {
        return false;
    }
    if (event_idx_) {
        const void *behind = &used->ring[setup.size];
        return passes(load_relaxed(*static_cast<const uint16_t *>(behind)), avail_idx_, before);
    }
    return (load_relaxed(used->flags) & VRING_USED_F_NO_NOTIFY) == 0;
}

void SplitDriver::interrupts(bool wanted) {
    if (event_idx_) {
        // Behind where the device is: passed in 65536 entries at the soonest.
        store_relaxed(avail->ring[setup.size], as_u16(wanted ? taken_ : taken_ - 1U));
    }
    store_relaxed(avail->flags, as_u16(wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT));
    full_barrier();
}

void SplitDriver::interrupt_after(uint16_t more) {
    store_relaxed(avail->ring[setup.size], as_u16(taken_ + more - 1U));
    full_barrier();
}

PackedDriver::PackedDriver(GuestRam &ram, uint16_t size, bool event_idx)
    : ram_(ram), event_idx_(event_idx), slots_(size) {
    setup.desc = ram.host(ram.allocate(size * sizeof(vring_packed_desc), 16));
    setup.driver = ram.host(ram.allocate(sizeof(vring_packed_desc_event)));
    setup.device = ram.host(ram.allocate(sizeof(vring_packed_desc_event)));
    setup.size = size;
    setup.next_avail = setup.next_used = 1U << 15;  // the wrap counters begin with 1
    desc = static_cast<vring_packed_desc *>(setup.desc);
    driver_event = static_cast<vring_packed_desc_event *>(setup.driver);
    device_event = static_cast<vring_packed_desc_event *>(setup.device);
}

void PackedDriver::advance(uint16_t &place, bool &wrap, uint16_t slots) const {
    place = as_u16(place + slots);
    if (place >= setup.size) {
        place = as_u16(place - setup.size);
        wrap = !wrap;
    }
}

uint16_t PackedDriver::available_flags() const {
    return wrap_ ? avail_bit : used_bit;
}

uint16_t PackedDriver::add(const std::vector<Buffer> &chain, bool indirect) {
    uint16_t id = 0;
    while (slots_.at(id) != 0) {
        id++;
    }
    const uint16_t first = next_;
    const uint16_t first_flags = available_flags();
    if (indirect) {
        const uint64_t addr = ram_.allocate(chain.size() * sizeof(vring_packed_desc), 16);
        auto *table = reinterpret_cast<vring_packed_desc *>(ram_.host(addr));
        for (const Buffer &buffer : chain) {
            *table++ = {.addr = buffer.addr,
                        .len = buffer.len,
                        .id = 0,
                        .flags = as_u16(buffer.writable ? VRING_DESC_F_WRITE : 0)};
        }
        desc[first].addr = addr;
        desc[first].len = static_cast<uint32_t>(chain.size() * sizeof(vring_packed_desc));
        desc[first].id = id;
        slots_[id] = 1;
        advance(next_, wrap_, 1);
        store_release(desc[first].flags, as_u16(first_flags | VRING_DESC_F_INDIRECT));
        return id;
    }
    uint16_t flags_of_first = 0;
    for (size_t n = 0; n < chain.size(); n++) {
        const uint16_t flags =
            as_u16(available_flags() | (chain[n].writable ? VRING_DESC_F_WRITE : 0U) |
                   (n + 1 == chain.size() ? 0U : VRING_DESC_F_NEXT));
        desc[next_].addr = chain[n].addr;
        desc[next_].len = chain[n].len;
        desc[next_].id = id;
        if (n == 0) {
            flags_of_first = flags;
        } else {
            store_relaxed(desc[next_].flags, flags);
        }
        advance(next_, wrap_, 1);
    }
    slots_[id] = as_u16(chain.size());
    store_release(desc[first].flags, flags_of_first);
    return id;
}

std::optional<Used> PackedDriver::take_used() {
    const uint16_t flags = load_acquire(desc[taken_].flags);
    if (((flags & avail_bit) != 0) != taken_wrap_ || ((flags & used_bit) != 0) != taken_wrap_) {
        return std::nullopt;
    }
    const Used result{load_relaxed(desc[taken_].id), load_relaxed(desc[taken_].len)};
    advance(taken_, taken_wrap_, slots_.at(result.id));
    slots_.at(result.id) = 0;
    if (event_idx_ && load_relaxed(driver_event->flags) == VRING_PACKED_EVENT_FLAG_DESC) {
        store_relaxed(driver_event->off_wrap, as_u16(taken_ | (taken_wrap_ ? 1U << 15 : 0U)));
        full_barrier();
    }
    return result;
}

bool PackedDriver::must_kick() {
    full_barrier();
    const uint16_t before = kicked_;
    const bool before_wrap = kicked_wrap_;
    kicked_ = next_;
    kicked_wrap_ = wrap_;
    if (before == next_ && before_wrap == wrap_) {
        return false;
    }
    const uint16_t flags = load_acquire(device_event->flags);
    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    const uint16_t off_wrap = load_relaxed(device_event->off_wrap);
    const bool same_lap = (off_wrap >> 15 != 0) == wrap_;
    const uint16_t event = as_u16((off_wrap & 0x7fffU) - (same_lap ? 0U : setup.size));
    const uint16_t old = as_u16(before - (before_wrap == wrap_ ? 0U : setup.size));
    return passes(event, next_, old);
}

void PackedDriver::interrupts(bool wanted) {
    if (wanted && event_idx_) {
        store_relaxed(driver_event->off_wrap, as_u16(taken_ | (taken_wrap_ ? 1U << 15 : 0U)));
        store_release(driver_event->flags, uint16_t{VRING_PACKED_EVENT_FLAG_DESC});
    } else {
        store_release(driver_event->flags, as_u16(wanted ? VRING_PACKED_EVENT_FLAG_ENABLE
                                                         : VRING_PACKED_EVENT_FLAG_DISABLE));
    }
    full_barrier();
}

void PackedDriver::interrupt_after(uint16_t more) {
    uint16_t place = taken_;
    bool wrap = taken_wrap_;
    advance(place, wrap, as_u16(more - 1U));  // of chains that take one slot
    store_relaxed(driver_event->off_wrap, as_u16(place | (wrap ? 1U << 15 : 0U)));
    store_release(driver_event->flags, uint16_t{VRING_PACKED_EVENT_FLAG_DESC});
    full_barrier();
}

}  // namespace vdpa::engine::relay::test
