// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vdpa_driver.h>

#include <cstdint>
#include <vector>

#include "schema/engine_rpc.hpp"

/* The counters of a vDPA device (rte_vdpa.h, "Retrieve statistics of a vDPA device"). That a driver
 * has none, or none for one ring (-EINVAL, -ENOTSUP, or 0 of them), is no fault. Not for while the
 * driver changes the device. */
namespace vdpa::engine::device {

/* `rings` rings without any. */
std::vector<schema::QueueStats> no_counters(uint32_t rings);

/* All that the driver has for each of `rings` rings, under its own names. */
std::vector<schema::QueueStats> read_counters(const rte_vdpa_dev_ops &driver,
                                              rte_vdpa_device &device, uint32_t rings);

/* Has them begin at 0 again, where the driver can do that. */
void reset_counters(const rte_vdpa_dev_ops &driver, rte_vdpa_device &device, uint32_t rings);

}  // namespace vdpa::engine::device
