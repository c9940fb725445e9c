// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/mac.hpp"

#include <sys/random.h>

#include <charconv>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

std::optional<Mac> parse_mac(std::string_view text) {
    Mac mac{};
    if (text.size() != 3 * mac.size() - 1) {
        return std::nullopt;
    }
    for (size_t i = 0; i < mac.size(); i++) {
        const char *pair = text.data() + 3 * i;
        const auto [end, error] = std::from_chars(pair, pair + 2, mac[i], 16);
        if (error != std::errc() || end != pair + 2 || (i + 1 < mac.size() && *end != ':')) {
            return std::nullopt;
        }
    }
    return mac;
}

std::string format_mac(const Mac &mac) {
    return hex_text(mac.data(), mac.size(), ":");
}

std::optional<Mac> random_local_mac() {
    Mac mac{};
    if (::getrandom(mac.data(), mac.size(), 0) != static_cast<ssize_t>(mac.size())) {
        return std::nullopt;
    }
    mac[0] = static_cast<uint8_t>((mac[0] | 0x02U) & ~0x01U);
    return mac;
}

}  // namespace vdpa::agent::host
