// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/vdpa/kernel/call_relay.hpp"
#include "engine/vdpa/kernel/device_info.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

/* A region of the memory that a front-end shares: `size` bytes that the guest has at `guest` and
 * this process at `host`. */
struct Region {
    uint64_t guest = 0;
    uint64_t size = 0;
    uint64_t host = 0;
    uint64_t page_size = 0;  // of the file behind it; hugetlbfs has large ones

    bool operator==(const Region &) const = default;
};

/* A ring as the vhost library has it: addresses are of this process, descriptors the library's. */
struct RingRequest {
    uint32_t index = 0;
    uint32_t size = 0;  // descriptors
    uint64_t descriptors = 0;
    uint64_t driver_area = 0;
    uint64_t device_area = 0;
    Position position;
    int kick = -1;
    int call = -1;
};

/* A ring as a device takes it: addresses are the guest's. It has eventfds of its own. */
struct Ring {
    uint32_t index = 0;
    uint32_t size = 0;
    uint64_t descriptors = 0;
    uint64_t driver_area = 0;
    uint64_t device_area = 0;
    Position position;
    UniqueFd kick;
    UniqueFd call;                     // none: the driver polls
    std::shared_ptr<CallRelay> relay;  // null: `call` is the front-end's own eventfd
    /* The used index of a split ring in this process's memory, for as long as that is mapped. */
    const uint16_t *used_index = nullptr;
    bool enabled = true;  // by the front-end
};

/* What a front-end asks of a device, after it was checked. */
struct Session {
    uint64_t features = 0;  // for the device
    std::vector<Region> memory;
    std::vector<Ring> rings;  // by index, without holes: both rings of each pair

    bool packed() const { return has(features, VIRTIO_F_RING_PACKED); }
};

/* The position of a packed ring whose true one nobody knows: no ring has such an entry. */
inline constexpr Position unknown_position{.avail = 0x7fff, .used = 0x7fff};
/* Where a packed ring begins: both wrap counters are 1 (virtio 1.2, 2.8.1). A split one, at 0. */
inline constexpr Position fresh_packed_position{.avail = 0x8000, .used = 0x8000};

/* What a front-end says is not believed. A table of memory is fit for `info` when there is any,
 * regions are whole pages, do not overlap, lie within what the device can address, and are not more
 * than `host_memory` bytes altogether. Error: device-failed. */
Expected<void> check_memory(const DeviceInfo &info, const std::vector<Region> &memory,
                            uint64_t host_memory);

/* Finds the ring in `memory` and in the bounds of the device. `features` are those negotiated. To
 * be kicked by, a front-end has to give an eventfd; to be called by, an eventfd or a unix socket.
 * Error: device-failed. */
Expected<Ring> check_ring(const DeviceInfo &info, const std::vector<Region> &memory,
                          const RingRequest &request, uint64_t features);

}  // namespace vdpa::engine::kernel
