// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/session.hpp"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <optional>

namespace vdpa::engine::kernel {

namespace {

/* What IOMMUs and VHOST_PAGE_SIZE count in. */
constexpr uint64_t page = 4096;

std::string hex(uint64_t value) {
    char text[19];
    std::snprintf(text, sizeof(text), "0x%" PRIx64, value);
    return text;
}

tl::unexpected<Error> refuse(const DeviceInfo &info, const std::string &what) {
    return fail(schema::Reason::device_failed, info.path + ": the front-end " + what);
}

std::string span_of(const Region &region) {
    return hex(region.guest) + "+" + hex(region.size);
}

/* The guest's address of `size` bytes at `host`, if one region holds them all. */
std::optional<uint64_t> guest_address(const std::vector<Region> &memory, uint64_t host,
                                      uint64_t size) {
    for (const Region &region : memory) {
        if (host >= region.host && host - region.host < region.size &&
            size <= region.size - (host - region.host)) {
            return region.guest + (host - region.host);
        }
    }
    return std::nullopt;
}

/* Sizes and alignments of a ring's three parts: virtio 1.2, 2.7 (split) and 2.8 (packed). */
struct Part {
    const char *name;
    uint64_t host;
    uint64_t size;
    uint64_t alignment;
};

std::array<Part, 3> parts_of(const RingRequest &ring, uint64_t features) {
    const uint64_t n = ring.size;
    if (has(features, VIRTIO_F_RING_PACKED)) {
        return {Part{"descriptor ring", ring.descriptors, 16 * n, 16},
                Part{"driver event area", ring.driver_area, 4, 4},
                Part{"device event area", ring.device_area, 4, 4}};
    }
    const uint64_t rest = has(features, VIRTIO_RING_F_EVENT_IDX) ? 6 : 4;
    return {Part{"descriptor table", ring.descriptors, 16 * n, 16},
            Part{"available ring", ring.driver_area, rest + 2 * n, 2},
            Part{"used ring", ring.device_area, rest + 8 * n, 4}};
}

Expected<UniqueFd> duplicate(int fd) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) {
        return fail(schema::Reason::device_failed,
                    "cannot duplicate an eventfd: " + errno_text(errno));
    }
    return copy;
}

/* Puts a relay between device and front-end where they do not fit together. */
Expected<void> relay_call(const DeviceInfo &info, Ring &ring) {
    if (relay::is_eventfd(ring.call.get())) {
        return {};
    }
    if (!relay::is_unix_socket(ring.call.get())) {
        return refuse(info, "gives neither an eventfd nor a socket to be called by for ring " +
                                std::to_string(ring.index));
    }
    auto relayed = CallRelay::create(std::move(ring.call));
    if (!relayed) {
        return tl::make_unexpected(relayed.error());
    }
    auto eventfd = duplicate((*relayed)->eventfd());
    if (!eventfd) {
        return tl::make_unexpected(eventfd.error());
    }
    ring.call = std::move(*eventfd);
    ring.relay = std::move(*relayed);
    return {};
}

}  // namespace

Expected<void> check_memory(const DeviceInfo &info, const std::vector<Region> &memory,
                            uint64_t host_memory) {
    if (memory.empty()) {
        return refuse(info, "shares no memory");
    }
    uint64_t left = host_memory;
    std::vector<Region> sorted = memory;
    std::sort(sorted.begin(), sorted.end(),
              [](const Region &a, const Region &b) { return a.guest < b.guest; });
    uint64_t free_from = 0;
    for (const Region &region : sorted) {
        if (region.size == 0 || region.size - 1 > UINT64_MAX - region.guest ||
            region.size - 1 > UINT64_MAX - region.host) {
            return refuse(info, "shares a region of an impossible size: " + span_of(region));
        }
        if (((region.guest | region.size | region.host) & (page - 1)) != 0) {
            return refuse(info, "shares a region that is not whole pages: " + span_of(region));
        }
        if (region.guest < free_from) {
            return refuse(info, "shares regions that overlap at " + hex(region.guest));
        }
        const uint64_t last = region.guest + (region.size - 1);
        if (region.guest < info.first_iova || last > info.last_iova) {
            return refuse(info, "shares memory that the device cannot address: " + span_of(region) +
                                    " is not within " + hex(info.first_iova) + " to " +
                                    hex(info.last_iova));
        }
        if (region.size > left) {
            return refuse(info, "shares more memory than this host has");
        }
        left -= region.size;
        if (last == UINT64_MAX) {
            free_from = UINT64_MAX;  // nothing comes after it but an overlap
        } else {
            free_from = last + 1;
        }
    }
    return {};
}

Expected<Ring> check_ring(const DeviceInfo &info, const std::vector<Region> &memory,
                          const RingRequest &request, uint64_t features) {
    const bool packed = has(features, VIRTIO_F_RING_PACKED);
    const std::string name = "ring " + std::to_string(request.index);
    // vhost_vdpa_vring_ioctl() takes powers of two only, for packed rings, too.
    if (request.size == 0 || !std::has_single_bit(request.size) ||
        request.size > info.max_ring_size) {
        return refuse(info, "sets up " + name + " with " + std::to_string(request.size) +
                                " entries; the device takes powers of two of at most " +
                                std::to_string(info.max_ring_size) +
                                " (QEMU: rx_queue_size, tx_queue_size)");
    }
    Ring ring;
    ring.index = request.index;
    ring.size = request.size;
    std::array<uint64_t *, 3> addresses = {&ring.descriptors, &ring.driver_area, &ring.device_area};
    const auto parts = parts_of(request, features);
    for (size_t i = 0; i < parts.size(); ++i) {
        const auto address = guest_address(memory, parts[i].host, parts[i].size);
        if (!address) {
            return refuse(info, "puts the " + std::string(parts[i].name) + " of " + name +
                                    " outside of the memory that it shares");
        }
        if (*address % parts[i].alignment != 0) {
            return refuse(info, "puts the " + std::string(parts[i].name) + " of " + name +
                                    " at an odd address, " + hex(*address));
        }
        *addresses[i] = *address;
    }
    ring.position = request.position;
    if (!packed) {
        // struct vring_used: flags, idx.
        ring.used_index = reinterpret_cast<const uint16_t *>(request.device_area) + 1;
    }
    if (request.kick < 0) {
        return refuse(
            info, "gives no eventfd to kick " + name + " with, but the kernel does not poll rings");
    }
    if (!relay::is_eventfd(request.kick)) {
        return refuse(info, "gives no eventfd to kick " + name + " with, but something else");
    }
    auto kick = duplicate(request.kick);
    if (!kick) {
        return tl::make_unexpected(kick.error());
    }
    ring.kick = std::move(*kick);
    if (request.call >= 0) {
        auto call = duplicate(request.call);
        if (!call) {
            return tl::make_unexpected(call.error());
        }
        ring.call = std::move(*call);
        if (auto relayed = relay_call(info, ring); !relayed) {
            return tl::make_unexpected(relayed.error());
        }
    }
    return ring;
}

}  // namespace vdpa::engine::kernel
