// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vdpa::agent::host {

/* A MAC address of Ethernet, in the order of transmission. */
using Mac = std::array<uint8_t, 6>;

/* Six pairs of hexadecimal digits with colons between them; nothing if it is anything else. */
std::optional<Mac> parse_mac(std::string_view text);
std::string format_mac(const Mac &mac);

/* A unicast address of the local kind (IEEE 802), which no network card has; nothing if the kernel
 * gives no random numbers. */
std::optional<Mac> random_local_mac();

}  // namespace vdpa::agent::host
