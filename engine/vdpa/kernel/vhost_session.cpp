// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/vhost_session.hpp"

#include <rte_vhost.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include "engine/vdpa/kernel/features.hpp"

namespace vdpa::engine::kernel {

namespace {

/* The library's VIRTIO_UNINITIALIZED_EVENTFD (lib/vhost/vhost.h): not yet said. -1: there is none.
 */
constexpr int unsaid = -2;

/* What the library has of a ring; nothing while the front-end has not set it up. */
std::optional<RingRequest> ring_request(int vid, uint32_t index) {
    rte_vhost_vring ring{};
    RingRequest request;
    const auto number = static_cast<uint16_t>(index);
    if (index >= rte_vhost_get_vring_num(vid) ||
        rte_vhost_get_vhost_vring(vid, number, &ring) != 0 ||
        rte_vhost_get_vring_base(vid, number, &request.position.avail, &request.position.used) !=
            0) {
        return std::nullopt;
    }
    if (!ring.desc || !ring.avail || !ring.used || ring.kickfd == unsaid || ring.callfd == unsaid) {
        return std::nullopt;
    }
    request.index = index;
    request.size = ring.size;
    request.descriptors = reinterpret_cast<uint64_t>(ring.desc);
    request.driver_area = reinterpret_cast<uint64_t>(ring.avail);
    request.device_area = reinterpret_cast<uint64_t>(ring.used);
    request.kick = ring.kickfd;
    request.call = ring.callfd;
    return request;
}

Expected<std::vector<Region>> read_memory(int vid) {
    rte_vhost_memory *table = nullptr;
    if (rte_vhost_get_mem_table(vid, &table) != 0) {
        return fail(schema::Reason::device_failed, "the vhost library has no table of memory");
    }
    const std::unique_ptr<rte_vhost_memory, decltype(&std::free)> owner(table, &std::free);
    std::vector<Region> memory;
    for (uint32_t i = 0; i < table->nregions; ++i) {
        const rte_vhost_mem_region &region = table->regions[i];
        // st_blksize is the size of hugetlbfs's pages, or else the page size.
        struct stat file {};
        const bool known = ::fstat(region.fd, &file) == 0 && file.st_blksize > 0;
        memory.push_back({.guest = region.guest_phys_addr,
                          .size = region.size,
                          .host = region.host_user_addr,
                          .page_size = known ? static_cast<uint64_t>(file.st_blksize) : 0});
    }
    return memory;
}

}  // namespace

Expected<SessionBase> read_session_base(int vid, const DeviceInfo &info, uint64_t host_memory) {
    uint64_t negotiated = 0;
    if (rte_vhost_get_negotiated_features(vid, &negotiated) != 0) {
        return fail(schema::Reason::device_failed, "the vhost library does not know the front-end");
    }
    const auto features = features_for_device(info, negotiated);
    if (!features) {
        return tl::make_unexpected(features.error());
    }
    auto memory = read_memory(vid);
    if (!memory) {
        return tl::make_unexpected(memory.error());
    }
    if (auto checked = check_memory(info, *memory, host_memory); !checked) {
        return tl::make_unexpected(checked.error());
    }
    return SessionBase{*features, std::move(*memory)};
}

Expected<Ring> read_ring(int vid, const DeviceInfo &info, const SessionBase &base, uint32_t ring) {
    const auto request = ring_request(vid, ring);
    if (!request) {
        return fail(schema::Reason::device_failed,
                    info.path + ": the front-end has not set up ring " + std::to_string(ring));
    }
    return check_ring(info, base.memory, *request, base.features);
}

Expected<std::optional<std::pair<Ring, Ring>>> read_pair(int vid, const DeviceInfo &info,
                                                         const SessionBase &base, uint32_t pair) {
    const auto receive = ring_request(vid, 2 * pair);
    const auto transmit = ring_request(vid, 2 * pair + 1);
    if (!receive || !transmit) {
        return std::nullopt;
    }
    auto first = check_ring(info, base.memory, *receive, base.features);
    if (!first) {
        return tl::make_unexpected(first.error());
    }
    auto second = check_ring(info, base.memory, *transmit, base.features);
    if (!second) {
        return tl::make_unexpected(second.error());
    }
    return std::pair(std::move(*first), std::move(*second));
}

void write_position(int vid, uint32_t ring, Position position) {
    rte_vhost_set_vring_base(vid, static_cast<uint16_t>(ring), position.avail, position.used);
}

}  // namespace vdpa::engine::kernel
