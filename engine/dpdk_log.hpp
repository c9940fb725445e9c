// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vdpa::engine {

/* Puts what DPDK logs into our log, with its level; to be called before rte_eal_init(). What a
 * peer can cause again and again is limited. */
void redirect_dpdk_log();

/* The last errors that DPDK logged, as one line; for the time of rte_eal_init(). */
std::string last_dpdk_errors();

}  // namespace vdpa::engine
