// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/guest_memory.hpp"

namespace vdpa::engine::relay {

GuestMemory::GuestMemory(const std::vector<MemoryRegion> &regions) {
    for (const MemoryRegion &region : regions) {
        const uint64_t host = reinterpret_cast<uintptr_t>(region.host);
        if (region.size != 0 && region.host != nullptr &&
            region.size <= UINT64_MAX - region.guest_addr && region.size <= UINT64_MAX - host) {
            regions_.push_back(region);
        }
    }
}

std::optional<uint64_t> GuestMemory::guest_addr(const void *host, uint64_t len) const {
    const uint64_t wanted = reinterpret_cast<uintptr_t>(host);
    for (const MemoryRegion &region : regions_) {
        const uint64_t start = reinterpret_cast<uintptr_t>(region.host);
        if (wanted >= start && wanted - start <= region.size &&
            len <= region.size - (wanted - start)) {
            return region.guest_addr + (wanted - start);
        }
    }
    return std::nullopt;
}

void DirtyLog::mark(uint64_t addr, uint64_t len) const {
    constexpr unsigned page_shift = 12;
    if (base == nullptr || len == 0 || addr + (len - 1) < addr) {
        return;
    }
    const uint64_t last = (addr + (len - 1)) >> page_shift;
    for (uint64_t page = addr >> page_shift; page <= last && page / 8 < size; page++) {
        // The front-end clears the bits while we set them.
        __atomic_fetch_or(&base[page / 8], static_cast<uint8_t>(1U << (page % 8)),
                          __ATOMIC_RELEASE);
    }
}

}  // namespace vdpa::engine::relay
