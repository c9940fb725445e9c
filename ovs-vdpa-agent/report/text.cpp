// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/text.hpp"

#include <ctime>

namespace vdpa::agent::report {

std::string time_text(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm utc{};
    char text[32] = "";
    if (gmtime_r(&seconds, &utc) != nullptr) {
        (void)std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    return text;
}

}  // namespace vdpa::agent::report
