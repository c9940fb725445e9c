// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/vdpa/kernel/device_info.hpp"
#include "engine/vdpa/kernel/session.hpp"
#include "schema/support/error.hpp"

/* What the vhost library knows about the device of a front-end, `vid`. For its event thread. */
namespace vdpa::engine::kernel {

/* What is the same for all rings of a session. */
struct SessionBase {
    uint64_t features = 0;  // for the device
    std::vector<Region> memory;
};

/* The features and the memory, checked. Error: device-failed. */
Expected<SessionBase> read_session_base(int vid, const DeviceInfo &info, uint64_t host_memory);

/* Both rings of a pair, checked; nothing while one of them is not set up. Error: device-failed. */
Expected<std::optional<std::pair<Ring, Ring>>> read_pair(int vid, const DeviceInfo &info,
                                                         const SessionBase &base, uint32_t pair);

/* A ring that is set up, checked. Error: device-failed. */
Expected<Ring> read_ring(int vid, const DeviceInfo &info, const SessionBase &base, uint32_t ring);

/* Tells the library where rings stand that it did not serve itself. */
void write_position(int vid, uint32_t ring, Position position);

}  // namespace vdpa::engine::kernel
