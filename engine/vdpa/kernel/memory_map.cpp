// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/memory_map.hpp"

#include <algorithm>
#include <bit>

namespace vdpa::engine::kernel {

namespace {

constexpr uint64_t mebibyte = uint64_t{1} << 20;

}  // namespace

// Pinning takes about 0.1 us for a page that is there and 1 to 3 us for one that has to be zeroed
// first; zeroing hugepages, a tenth of that for the same number of bytes. A quarter of the kernel's
// entries is left for memory that is not contiguous.
uint64_t piece_size(const Region &region, uint64_t total, uint64_t entries) {
    const uint64_t most_pieces = std::max(entries - entries / 4, uint64_t{1});
    const bool huge = region.page_size >= 2 * mebibyte;
    return std::clamp(std::bit_ceil(total / most_pieces), (huge ? 32 : 16) * mebibyte,
                      (huge ? 1024 : 128) * mebibyte);
}

Called<void> MemoryMap::begin() {
    if (in_batch_ || !has(info_.backend_features, BackendFeature::iotlb_batch)) {
        return {};
    }
    auto begun = device_.begin_batch(asid_);
    in_batch_ = begun.has_value();
    return begun;
}

Called<void> MemoryMap::end() {
    if (!in_batch_) {
        return {};
    }
    in_batch_ = false;
    return device_.end_batch(asid_);
}

Expected<void> MemoryMap::map_piece(uint64_t guest, uint64_t size, uint64_t host,
                                    const Cancellation &cancellation) {
    if (const auto mapped = device_.map(asid_, guest, size, host); !mapped) {
        // The kernel says EFAULT whatever the reason is (vhost_chr_write_iter).
        const uint64_t lockable = device_.system().lockable_memory();
        std::string detail = mapped.error().text + ", mapping " + std::to_string(size / mebibyte) +
                             " MiB of the guest's memory.";
        if (lockable != UINT64_MAX) {
            detail += " This process may lock " + std::to_string(lockable / mebibyte) +
                      " MiB (ulimit -l; LimitMEMLOCK= of its unit), all of its guests together.";
        }
        if (const uint64_t entries = device_.system().map_entries(); entries != UINT64_MAX) {
            detail += " Memory in small pages can take more than the " + std::to_string(entries) +
                      " entries that vhost_vdpa has by its max_iotlb_entries: back the guest with "
                      "hugepages, or load the module with more";
        }
        return fail(schema::Reason::device_failed, std::move(detail));
    }
    pieces_.push_back({guest, size});
    cancellation.unless_cancelled([&] { device_.system().forget_pages(host, size); });
    return {};
}

Expected<bool> MemoryMap::map(const std::vector<Region> &memory, const Cancellation &cancellation) {
    uint64_t total = 0;
    for (const Region &region : memory) {
        total += region.size;
    }
    if (const auto begun = begin(); !begun) {
        return fail(schema::Reason::device_failed, begun.error().text);
    }
    const uint64_t entries = device_.system().map_entries();
    for (const Region &region : memory) {
        const uint64_t piece = piece_size(region, total, entries);
        for (uint64_t done = 0; done < region.size;) {
            if (cancellation.cancelled()) {
                return false;
            }
            // Up to the next multiple of `piece`, so that large pages stay whole.
            const uint64_t guest = region.guest + done;
            const uint64_t size = std::min(piece - guest % piece, region.size - done);
            if (auto mapped = map_piece(guest, size, region.host + done, cancellation); !mapped) {
                return tl::make_unexpected(mapped.error());
            }
            done += size;
        }
    }
    if (const auto ended = end(); !ended) {
        return fail(schema::Reason::device_failed, ended.error().text);
    }
    return true;
}

Expected<void> MemoryMap::unmap() {
    Expected<void> result;
    const auto note = [&result](const Called<void> &called) {
        if (!called && result) {
            result = fail(schema::Reason::device_failed, called.error().text);
        }
    };
    if (pieces_.empty() && !in_batch_) {
        return result;
    }
    note(begin());
    for (auto piece = pieces_.rbegin(); piece != pieces_.rend(); ++piece) {
        note(device_.unmap(asid_, piece->guest, piece->size));
    }
    pieces_.clear();
    note(end());
    return result;
}

void MemoryMap::forget() {
    pieces_.clear();
    in_batch_ = false;
}

}  // namespace vdpa::engine::kernel
