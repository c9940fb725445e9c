// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/device_info.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace vdpa::engine::kernel {

namespace {

/* The kernel's internal ENOTSUPP, which some drivers let through to user space. */
constexpr int kernel_enotsupp = 524;

tl::unexpected<Error> failed(const CallError &error) {
    return fail(schema::Reason::device_failed, error.text);
}

template <typename T>
Expected<T> checked(Called<T> called) {
    return std::move(called).map_error([](CallError error) {
        return Error{schema::Reason::device_failed, std::move(error.text)};
    });
}

uint16_t little_endian(const uint8_t *bytes) {
    return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}

using ConfigSpace = decltype(NetConfig::space);

/* Zeros past the end of the device's own. */
Expected<ConfigSpace> read_config_space(VhostVdpa &device) {
    ConfigSpace space{};
    const auto size = checked(device.config_size());
    if (!size) {
        return tl::make_unexpected(size.error());
    }
    const auto known = std::min<size_t>(*size, space.size());
    if (known != 0) {
        if (auto read = device.read_config(0, std::span(space).first(known)); !read) {
            return failed(read.error());
        }
    }
    return space;
}

NetConfig decode(const ConfigSpace &space, uint64_t features) {
    NetConfig config;
    config.space = space;
    if (has(features, VIRTIO_NET_F_MAC)) {
        config.mac.emplace();
        std::copy_n(space.begin() + offsetof(virtio_net_config, mac), 6, config.mac->begin());
    }
    if (has(features, VIRTIO_NET_F_STATUS)) {
        config.link_up = (little_endian(&space[offsetof(virtio_net_config, status)]) &
                          VIRTIO_NET_S_LINK_UP) != 0;
    }
    if (has(features, VIRTIO_NET_F_MTU)) {
        config.mtu = little_endian(&space[offsetof(virtio_net_config, mtu)]);
    }
    return config;
}

/* Fills in the queue pairs and how they are chosen. What the device says is held against the
 * number of rings that it has. */
void find_queue_pairs(DeviceInfo &info, const ConfigSpace &space) {
    if (!has(info.features, VIRTIO_NET_F_MQ)) {
        return;
    }
    const bool control = has(info.features, VIRTIO_NET_F_CTRL_VQ);
    const uint32_t said = little_endian(&space[offsetof(virtio_net_config, max_virtqueue_pairs)]);
    const uint32_t has_rings_for = (info.ring_count - (control ? 1 : 0)) / 2;
    // The control queue comes after the pairs that the device says it has (virtio 1.2, 5.1.2).
    if (said < 2 || said > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX || said > has_rings_for) {
        return;
    }
    info.queue_pairs = said;
    info.selection = control ? PairSelection::command : PairSelection::enable;
    info.control_ring = 2 * said;
}

/* The control ring's group, if no other ring is in it and there is a second address space. */
Called<std::optional<uint32_t>> find_control_group(VhostVdpa &device, const DeviceInfo &info) {
    if (info.selection != PairSelection::command ||
        !has(info.backend_features, BackendFeature::iotlb_asid)) {
        return std::nullopt;
    }
    const auto spaces = device.address_space_count();
    if (!spaces) {
        return tl::make_unexpected(spaces.error());
    }
    if (*spaces < 2) {
        return std::nullopt;
    }
    const auto group = device.ring_group(info.control_ring);
    if (!group) {
        return tl::make_unexpected(group.error());
    }
    for (uint32_t ring = 0; ring < info.control_ring; ++ring) {
        const auto other = device.ring_group(ring);
        if (!other) {
            return tl::make_unexpected(other.error());
        }
        if (*other == *group) {
            return std::nullopt;
        }
    }
    return *group;
}

}  // namespace

Expected<VhostVdpa> open_device(System &system, const std::string &path) {
    auto device = VhostVdpa::open(system, path);
    if (device) {
        return std::move(*device);
    }
    const CallError &error = device.error();
    switch (error.error) {
        case ENOENT:
        case ENXIO:
        case ENODEV:
            return fail(schema::Reason::device_missing, error.text);
        case EBUSY:
            return fail(schema::Reason::device_busy,
                        error.text +
                            "; another program has it, or the one before us has not yet "
                            "let go of it (fuser " +
                            path + ")");
        case kernel_enotsupp:
            // vhost_vdpa_alloc_domain(): the device's DMA passes no IOMMU that can confine it.
            return fail(schema::Reason::kernel_lacks,
                        "cannot open " + path +
                            ": its parent device is behind no IOMMU with coherent caches; enable "
                            "the IOMMU in firmware and on the kernel's command line");
        default:
            return failed(error);
    }
}

Expected<NetConfig> read_net_config(VhostVdpa &device, uint64_t features) {
    return read_config_space(device).map(
        [features](const ConfigSpace &space) { return decode(space, features); });
}

Expected<DeviceInfo> probe(VhostVdpa &device) {
    DeviceInfo info;
    info.path = device.path();
    // Before everything else: the calls of vhost itself want an owner (linux/vhost.h), and what is
    // mapped later is in the owner's memory.
    if (auto owned = device.set_owner(); !owned) {
        return failed(owned.error());
    }
    const auto id = device.device_id();
    if (!id) {
        return failed(id.error());
    }
    if (*id != VIRTIO_ID_NET) {
        return fail(schema::Reason::device_failed, info.path + " is a virtio device of type " +
                                                       std::to_string(*id) +
                                                       ", not a network device");
    }
    const auto features = device.features();
    if (!features) {
        return failed(features.error());
    }
    info.features = *features;
    // Without ACCESS_PLATFORM a device takes addresses for the host's own (virtio 1.2, 6.1): what a
    // guest writes into its rings would reach any memory of this host.
    constexpr std::array needed = {
        std::pair{unsigned{VIRTIO_F_VERSION_1}, "VERSION_1"},
        std::pair{unsigned{VIRTIO_F_ACCESS_PLATFORM}, "ACCESS_PLATFORM"}};
    for (const auto &[number, name] : needed) {
        if (!has(info.features, number)) {
            return fail(schema::Reason::device_failed,
                        info.path + " does not offer VIRTIO_F_" + name +
                            ", without which it cannot be confined to the guest's memory");
        }
    }
    const auto backend = device.backend_features();
    if (!backend) {
        return failed(backend.error());
    }
    if (!has(*backend, BackendFeature::iotlb_msg_v2)) {
        return fail(
            schema::Reason::kernel_lacks,
            "the kernel's vhost_vdpa lacks IOTLB messages of version 2; Linux 6.1 has them");
    }
    info.backend_features =
        *backend & (bit(BackendFeature::iotlb_msg_v2) | bit(BackendFeature::iotlb_batch) |
                    bit(BackendFeature::iotlb_asid) | bit(BackendFeature::suspend) |
                    bit(BackendFeature::iotlb_persist));
    if (auto agreed = device.set_backend_features(info.backend_features); !agreed) {
        return failed(agreed.error());
    }
    const auto rings = device.ring_count();
    if (!rings) {
        return failed(rings.error());
    }
    const auto ring_size = device.max_ring_size();
    if (!ring_size) {
        return failed(ring_size.error());
    }
    info.ring_count = *rings;
    info.max_ring_size = *ring_size;
    if (info.ring_count < 2) {
        return fail(schema::Reason::device_failed,
                    info.path + " has " + std::to_string(info.ring_count) +
                        " virtqueues; a network device has at least two");
    }
    const auto space = read_config_space(device);
    if (!space) {
        return tl::make_unexpected(space.error());
    }
    info.config = decode(*space, info.features);
    find_queue_pairs(info, *space);
    const auto group = find_control_group(device, info);
    if (!group) {
        return failed(group.error());
    }
    info.control_group = *group;
    const auto range = device.iova_range();
    if (!range) {
        return failed(range.error());
    }
    info.first_iova = range->first;
    info.last_iova = range->last;
    // A position read from a device that goes on working is worth nothing, so one that cannot be
    // suspended has none; vp_vdpa has none in any case (vp_vdpa_get_vq_state).
    info.ring_state = has(info.backend_features, BackendFeature::suspend) &&
                      device.ring_position(0, false).has_value();
    return info;
}

}  // namespace vdpa::engine::kernel
