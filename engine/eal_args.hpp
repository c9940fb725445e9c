// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "schema/support/error.hpp"

namespace vdpa::engine {

/* The arguments for rte_eal_init(): the caller's, preceded by the program's name, and for each of
 * the following that they do not decide themselves, our choice:
 *   --in-memory        nothing in the file system, nothing to be left behind (without --no-huge,
 *                      which excludes it)
 *   --file-prefix      of this process alone
 *   -a 0000:00:00.0    no device is probed; devices come by hotplug, which --no-pci would rule out
 *   --iova-mode=va     needs no physical addresses, hence no privilege
 *   --lcores           one lcore, on all of `cpus`: the main thread only waits, and is not pinned
 *   --no-telemetry     no socket of its own
 * Error: eal-failed for what would end the process (--help) or name another program. */
Expected<std::vector<std::string>> complete_eal_args(const std::vector<std::string> &args,
                                                     const std::vector<unsigned> &cpus,
                                                     const std::string &file_prefix);

}  // namespace vdpa::engine
