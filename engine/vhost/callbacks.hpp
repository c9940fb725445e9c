// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_vhost.h>

namespace vdpa::engine::vhost {

/* What the vhost library calls; each finds its Port in the Registry. */
const rte_vhost_device_ops &device_callbacks();

}  // namespace vdpa::engine::vhost
