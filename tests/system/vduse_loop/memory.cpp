// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <linux/vduse.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "schema/support/unique_fd.hpp"

namespace vdpa::test {

namespace {

struct Piece {
    vduse_iotlb_entry entry;
    UniqueFd file;

    uint64_t size() const { return entry.last - entry.start + 1; }
};

/* In the order of their addresses. */
std::vector<Piece> pieces_of(int device) {
    std::vector<Piece> pieces;
    uint64_t start = 0;
    for (;;) {
        vduse_iotlb_entry entry{};
        entry.start = start;
        entry.last = UINT64_MAX;
        UniqueFd file(::ioctl(device, VDUSE_IOTLB_GET_FD, &entry));
        if (!file) {
            return pieces;
        }
        start = entry.last + 1;
        pieces.push_back({entry, std::move(file)});
        if (start == 0) {
            return pieces;
        }
    }
}

}  // namespace

bool Memory::map() {
    forget();
    const std::vector<Piece> pieces = pieces_of(device_);
    std::vector<engine::relay::MemoryRegion> regions;
    for (size_t first = 0; first < pieces.size();) {
        size_t end = first + 1;
        while (end < pieces.size() && pieces[end].entry.start == pieces[end - 1].entry.last + 1) {
            ++end;
        }
        const uint64_t size = pieces[end - 1].entry.last - pieces[first].entry.start + 1;
        void *const place =
            ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (place == MAP_FAILED) {
            return false;
        }
        auto *const bytes = static_cast<uint8_t *>(place);
        mapped_.push_back({bytes, size});
        for (size_t i = first; i < end; ++i) {
            const Piece &piece = pieces[i];
            if (::mmap(bytes + (piece.entry.start - pieces[first].entry.start), piece.size(),
                       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, piece.file.get(),
                       static_cast<off_t>(piece.entry.offset)) == MAP_FAILED) {
                return false;
            }
        }
        regions.push_back({pieces[first].entry.start, size, bytes});
        first = end;
    }
    guest_ = engine::relay::GuestMemory(regions);
    return !regions.empty();
}

void Memory::forget() {
    guest_ = engine::relay::GuestMemory();
    for (const Range &range : mapped_) {
        ::munmap(range.address, range.size);
    }
    mapped_.clear();
}

}  // namespace vdpa::test
