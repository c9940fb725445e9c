// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/accounts.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace vdpa::agent::config {

Account numeric_account(const std::string &name) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_digit)) {
        return {};
    }
    uint32_t value = 0;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), value);
    // The highest number is no user but "leave as it is" to chown(2).
    if (error != std::errc{} || value == UINT32_MAX) {
        return {Account::State::missing, 0};
    }
    return {Account::State::found, value};
}

}  // namespace vdpa::agent::config
