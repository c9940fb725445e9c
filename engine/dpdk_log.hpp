// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vdpa::engine {

/* Puts what DPDK logs into our log, with its level; to be called before rte_eal_init(). What a
 * peer can cause again and again is limited. */
void redirect_dpdk_log();

}  // namespace vdpa::engine
