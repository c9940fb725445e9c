// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/vdpa/kernel/device_info.hpp"

namespace vdpa::engine::kernel {

/* VHOST_USER_F_PROTOCOL_FEATURES, of vhost-user alone. */
inline constexpr unsigned vhost_user_f_protocol_features = 30;

/* The virtio features to offer to a front-end on behalf of a device. */
uint64_t offered_features(const DeviceInfo &info);

/* The vhost-user protocol features to offer, as bits. */
uint64_t offered_protocol_features();

/* What the device is to be told (VHOST_SET_FEATURES) when front-end and guest have chosen
 * `negotiated` of what was offered. Error: device-failed, the guest's driver cannot be served. */
Expected<uint64_t> features_for_device(const DeviceInfo &info, uint64_t negotiated);

}  // namespace vdpa::engine::kernel
