// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vdpa::engine::vhost {

/* The names of the feature bits of a network device that are set, as in virtio 1.2 (5.1.3 and 6)
 * without their prefixes and in lower case: "mrg_rxbuf". A bit without a name is "bitN". */
std::vector<std::string> feature_names(uint64_t features);

}  // namespace vdpa::engine::vhost
