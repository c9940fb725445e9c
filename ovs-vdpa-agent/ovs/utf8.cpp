// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/utf8.hpp"

#include <cstdint>

namespace vdpa::agent::ovs {
namespace {

/* Length of the well-formed sequence that `text` begins with; 0: none. The Unicode Standard, table
 * 3-7: neither overlong forms, nor surrogates, nor anything above U+10FFFF. */
size_t sequence_length(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(i < text.size() ? text[i] : 0); };
    const auto is_tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
    const uint8_t first = byte(0);
    if (first < 0x80) {
        return first == 0 ? 0 : 1;
    }
    if (first < 0xe0) {
        return first >= 0xc2 && is_tail(1) ? 2 : 0;
    }
    if (first < 0xf0) {
        const bool overlong = first == 0xe0 && byte(1) < 0xa0;
        const bool surrogate = first == 0xed && byte(1) > 0x9f;
        return is_tail(1) && is_tail(2) && !overlong && !surrogate ? 3 : 0;
    }
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool too_large = first > 0xf4 || (first == 0xf4 && byte(1) > 0x8f);
    return is_tail(1) && is_tail(2) && is_tail(3) && !overlong && !too_large ? 4 : 0;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        const size_t length = sequence_length(text);
        result += length ? text.substr(0, length) : "\xef\xbf\xbd";
        text.remove_prefix(length ? length : 1);
    }
    return result;
}

}  // namespace vdpa::agent::ovs
