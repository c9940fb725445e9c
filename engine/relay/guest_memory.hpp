// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace vdpa::engine::relay {

/* A piece of guest memory that is mapped here. */
struct MemoryRegion {
    uint64_t guest_addr;  // guest-physical
    uint64_t size;        // bytes
    uint8_t *host;        // where it is mapped
};

/* The guest memory of one device: the only way from an address that a guest wrote to a pointer. */
class GuestMemory {
  public:
    GuestMemory() = default;
    /* Regions that are empty or wrap around the end of an address space are left out. */
    explicit GuestMemory(const std::vector<MemoryRegion> &regions);

    /* The memory at guest address `addr`; `len`, the bytes wanted, becomes the bytes that are there
     * without a gap in one region. Null, and `len` 0, when nothing is there. */
    uint8_t *at(uint64_t addr, uint64_t &len) const {
        for (const MemoryRegion &region : regions_) {
            const uint64_t offset = addr - region.guest_addr;
            if (addr >= region.guest_addr && offset < region.size) {
                len = len < region.size - offset ? len : region.size - offset;
                return region.host + offset;
            }
        }
        len = 0;
        return nullptr;
    }

    /* The guest address of `len` bytes at `host`, if they lie in one region. */
    std::optional<uint64_t> guest_addr(const void *host, uint64_t len) const;

  private:
    std::vector<MemoryRegion> regions_;
};

/* Where a front-end wants to learn which pages are written to, one bit for each 4 KiB of
 * guest-physical memory (the vhost-user specification, "Migration"). */
struct DirtyLog {
    uint8_t *base = nullptr;  // null: nobody wants to know
    uint64_t size = 0;        // bytes of the bitmap

    explicit operator bool() const { return base != nullptr; }
    /* Marks [addr, addr + len); what the bitmap does not cover is left out. */
    void mark(uint64_t addr, uint64_t len) const;
};

}  // namespace vdpa::engine::relay
