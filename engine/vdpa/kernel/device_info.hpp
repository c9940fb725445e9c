// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/vdpa/kernel/vhost_vdpa.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::kernel {

/* What a network device says of itself (virtio 1.2, 5.1.4); nothing where it has no such feature.
 */
struct NetConfig {
    std::array<uint8_t, sizeof(virtio_net_config)> space{};  // all of it; 0 past its end
    std::optional<std::array<uint8_t, 6>> mac;
    std::optional<bool> link_up;
    std::optional<uint16_t> mtu;

    bool operator==(const NetConfig &) const = default;
};

/* How a device is told which queue pairs the guest uses. */
enum class PairSelection : uint8_t {
    none,     // it has one pair
    command,  // by VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET on its control queue (virtio 1.2, 5.1.6.5.5)
    enable,   // it offers MQ but has no control queue: the rings that are enabled are in use
};

/* What a device is and can do; fixed for as long as it is open, but for `config`. */
struct DeviceInfo {
    std::string path;
    uint64_t features = 0;          // as the device offers them
    uint64_t backend_features = 0;  // of BackendFeature, those that both sides have
    uint32_t ring_count = 0;
    uint16_t max_ring_size = 0;  // descriptors
    uint32_t queue_pairs = 1;
    PairSelection selection = PairSelection::none;
    uint32_t control_ring = 0;  // for PairSelection::command
    /* The group of the control ring, where that ring can be given an address space that the guest
     * cannot reach. */
    std::optional<uint32_t> control_group;
    uint64_t first_iova = 0;
    uint64_t last_iova = 0;
    /* The device can say where its rings stand when it is stopped. */
    bool ring_state = false;
    NetConfig config;
};

/* Makes this process the owner of `device`, agrees with it on backend features, and asks it for
 * everything. It is left reset, as it was when it was opened.
 * Errors: kernel-lacks, device-failed. Not thread-safe. */
Expected<DeviceInfo> probe(VhostVdpa &device);

/* The present contents of the configuration space. Error: device-failed. */
Expected<NetConfig> read_net_config(VhostVdpa &device, uint64_t features);

/* Opens the device. Errors: device-missing, device-busy, kernel-lacks, device-failed. */
Expected<VhostVdpa> open_device(System &system, const std::string &path);

}  // namespace vdpa::engine::kernel
