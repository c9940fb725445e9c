// SPDX-License-Identifier: Apache-2.0
#include "fake_control_device.hpp"

#include <cstring>

#include "engine/vdpa/kernel/uapi.hpp"

namespace vdpa::engine::kernel {

std::optional<FakeControlDevice::Command> FakeControlDevice::serve(uint8_t answer) {
    return packed_ ? serve_packed(answer) : serve_split(answer);
}

FakeControlDevice::Command FakeControlDevice::read_command(uint64_t address,
                                                           uint32_t length) const {
    uint8_t bytes[4] = {};
    std::memcpy(bytes, translate_(address), std::min<size_t>(length, sizeof(bytes)));
    return {bytes[0], bytes[1], static_cast<uint16_t>(bytes[2] | bytes[3] << 8)};
}

void FakeControlDevice::write_answer(uint64_t address, uint8_t answer) const {
    std::memcpy(translate_(address), &answer, 1);
}

std::optional<FakeControlDevice::Command> FakeControlDevice::serve_split(uint8_t answer) {
    auto *const available = static_cast<uint16_t *>(translate_(ring_.driver_area));
    if (__atomic_load_n(&available[1], __ATOMIC_ACQUIRE) == next_) {
        return std::nullopt;
    }
    const auto *const descriptors = static_cast<const vring_desc *>(translate_(ring_.descriptors));
    const vring_desc &first = descriptors[available[2 + next_ % ring_.size]];
    if ((first.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) != VRING_DESC_F_NEXT) {
        return std::nullopt;
    }
    const vring_desc &second = descriptors[first.next];
    if (second.flags != VRING_DESC_F_WRITE || second.len != 1) {
        return std::nullopt;
    }
    const Command command = read_command(first.addr, first.len);
    write_answer(second.addr, answer);
    auto *const used = static_cast<uint16_t *>(translate_(ring_.device_area));
    auto *const entries = reinterpret_cast<vring_used_elem *>(used + 2);
    entries[next_ % ring_.size] = {.id = available[2 + next_ % ring_.size], .len = 1};
    // flags, or with EVENT_IDX used_event, both at once.
    interrupt_wanted_ = available[0] == 0 && available[2 + ring_.size] == next_;
    ++next_;
    __atomic_store_n(&used[1], next_, __ATOMIC_RELEASE);
    return command;
}

std::optional<FakeControlDevice::Command> FakeControlDevice::serve_packed(uint8_t answer) {
    auto *const descriptors = static_cast<vring_packed_desc *>(translate_(ring_.descriptors));
    const auto is_available = [this](uint16_t flags) {
        return (flags >> VRING_PACKED_DESC_F_AVAIL & 1) == (wrap_ ? 1 : 0) &&
               (flags >> VRING_PACKED_DESC_F_USED & 1) == (wrap_ ? 0 : 1);
    };
    vring_packed_desc &first = descriptors[next_];
    const uint16_t flags = __atomic_load_n(&first.flags, __ATOMIC_ACQUIRE);
    if (!is_available(flags) || (flags & VRING_DESC_F_NEXT) == 0) {
        return std::nullopt;
    }
    const vring_packed_desc &second = descriptors[next_ + 1];
    if (!is_available(second.flags) || (second.flags & VRING_DESC_F_WRITE) == 0) {
        return std::nullopt;
    }
    const Command command = read_command(first.addr, first.len);
    write_answer(second.addr, answer);
    const auto used = static_cast<uint16_t>(
        wrap_ ? 1U << VRING_PACKED_DESC_F_AVAIL | 1U << VRING_PACKED_DESC_F_USED : 0U);
    first.id = second.id;
    first.len = 1;
    interrupt_wanted_ =
        static_cast<const vring_packed_desc_event *>(translate_(ring_.driver_area))->flags ==
        VRING_PACKED_EVENT_FLAG_ENABLE;
    __atomic_store_n(&first.flags, used, __ATOMIC_RELEASE);
    next_ = static_cast<uint16_t>(next_ + 2);
    if (next_ >= ring_.size) {
        next_ = 0;
        wrap_ = !wrap_;
    }
    return command;
}

}  // namespace vdpa::engine::kernel
