// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The kernel's headers about vhost-vdpa and virtio, in C++: virtio_net.h has a member named class,
 * and virtio_ring.h inline functions that are C only. */
#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY
#endif
#define class virtio_class
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#undef class

#include <cstdint>

namespace vdpa::engine::kernel {

/* VHOST_BACKEND_F_* (linux/vhost_types.h). Those above 4 are younger than Debian 12's headers. */
enum class BackendFeature : unsigned {
    iotlb_msg_v2 = 1,
    iotlb_batch = 2,    // mappings are handed to the device in one go
    iotlb_asid = 3,     // rings may have address spaces of their own
    suspend = 4,        // the device can stop and tell where its rings stand
    iotlb_persist = 8,  // mappings survive a reset of the device
};

constexpr uint64_t bit(BackendFeature feature) {
    return uint64_t{1} << static_cast<unsigned>(feature);
}

constexpr bool has(uint64_t features, unsigned number) {
    return (features >> number & 1) != 0;
}

constexpr bool has(uint64_t features, BackendFeature feature) {
    return (features & bit(feature)) != 0;
}

}  // namespace vdpa::engine::kernel
