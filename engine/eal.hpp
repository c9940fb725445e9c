// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "schema/support/error.hpp"

namespace vdpa::engine {

/* Starts DPDK, on the calling thread, which is the only one that may use it from then on and keeps
 * its CPU affinity. To be called once in a process. Error: eal-failed, with what DPDK said and
 * what to do. */
Expected<void> start_eal(const std::vector<std::string> &args);

}  // namespace vdpa::engine
