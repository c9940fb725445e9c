// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace vdpa::agent::report {

/* As ISO 8601 has it, in UTC. */
std::string time_text(std::chrono::system_clock::time_point time);

}  // namespace vdpa::agent::report
