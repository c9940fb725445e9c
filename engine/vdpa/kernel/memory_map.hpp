// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "engine/vdpa/kernel/device_info.hpp"
#include "engine/vdpa/kernel/session.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::kernel {

/* Ends a mapping that is being made, before the memory is taken away. Thread-safe. */
class Cancellation {
  public:
    /* Waits for an unless_cancelled(). */
    void cancel() {
        const std::lock_guard lock(mutex_);
        cancelled_ = true;
    }
    void reset(bool cancelled) {
        const std::lock_guard lock(mutex_);
        cancelled_ = cancelled;
    }
    bool cancelled() const {
        const std::lock_guard lock(mutex_);
        return cancelled_;
    }
    template <typename Act>
    void unless_cancelled(Act act) const {
        const std::lock_guard lock(mutex_);
        if (!cancelled_) {
            act();
        }
    }

  private:
    mutable std::mutex mutex_;
    bool cancelled_ = false;
};

/* Guest memory in one address space of a device, at the guest's own addresses: the IOTLB messages
 * of vhost-vdpa (linux/vhost_types.h, struct vhost_msg_v2). Not thread-safe.
 *
 * Mapping pins pages, for as long as it takes with this process's memory map locked against whoever
 * wants to change it (drivers/vhost/vdpa.c, vhost_vdpa_pa_map): every other port's mmap() would
 * wait. So memory goes over in pieces, each a few milliseconds long, and all of them in one batch,
 * which devices with tables of their own want (VHOST_IOTLB_BATCH_BEGIN and _END).
 *
 * Pinned pages are then in this process's page tables, of no use to it, and the vhost library's
 * munmap(), in the thread that answers every port's front-end, would have to take out each of them:
 * seconds, for a large guest. So they are taken out here, piece by piece. They stay pinned. Never
 * after a cancellation: the addresses may be somebody else's then, whose memory it would erase. */
class MemoryMap {
  public:
    MemoryMap(VhostVdpa &device, const DeviceInfo &info, uint32_t asid)
        : device_(device), info_(info), asid_(asid) {}
    MemoryMap(const MemoryMap &) = delete;
    MemoryMap &operator=(const MemoryMap &) = delete;

    /* Maps all of `memory`, which was checked; nothing is mapped before. `cancellation` is looked
     * at between pieces. False: cancelled. Error: device-failed. In both cases unmap() has to
     * follow. */
    Expected<bool> map(const std::vector<Region> &memory, const Cancellation &cancellation);
    /* Removes what was mapped. What the kernel refuses to remove counts as removed: the caller has
     * to close the device then. Error: device-failed. */
    Expected<void> unmap();
    /* The kernel has removed everything by itself. */
    void forget();

    bool empty() const { return pieces_.empty() && !in_batch_; }

  private:
    struct Piece {
        uint64_t guest;
        uint64_t size;
    };

    Expected<void> map_piece(uint64_t guest, uint64_t size, uint64_t host,
                             const Cancellation &cancellation);
    Called<void> begin();
    Called<void> end();

    VhostVdpa &device_;
    const DeviceInfo &info_;
    const uint32_t asid_;
    std::vector<Piece> pieces_;
    bool in_batch_ = false;
};

/* How much of a region is handed over in one message, for a table of `total` bytes: few enough
 * milliseconds' worth, and few enough pieces for the `entries` of the kernel's table of them. */
uint64_t piece_size(const Region &region, uint64_t total, uint64_t entries);

}  // namespace vdpa::engine::kernel
