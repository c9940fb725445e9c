// SPDX-License-Identifier: Apache-2.0
#include "schema/support/option_values.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace vdpa::schema {

namespace {

tl::unexpected<std::string> wanted(std::string text) {
    return tl::make_unexpected(std::move(text));
}

std::optional<uint32_t> parse_number(std::string_view text, int base) {
    uint32_t value = 0;
    const char *const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

bool has_dot_component(std::string_view path) {
    while (!path.empty()) {
        const size_t slash = path.find('/');
        const std::string_view component = path.substr(0, slash);
        if (component == "." || component == "..") {
            return true;
        }
        path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    }
    return false;
}

}  // namespace

ReadResult<std::string> read_string(std::string_view text, size_t max_length) {
    if (text.empty() || text.size() > max_length) {
        return wanted("must have 1 to " + std::to_string(max_length) + " bytes, has " +
                      std::to_string(text.size()));
    }
    return std::string(text);
}

ReadResult<std::string> read_path(std::string_view text, size_t max_length) {
    if (text.empty() || text.front() != '/') {
        return wanted("must be an absolute path");
    }
    if (text.size() > max_length) {
        return wanted("must be at most " + std::to_string(max_length) + " bytes long, is " +
                      std::to_string(text.size()));
    }
    if (text.back() == '/' || has_dot_component(text)) {
        return wanted("must name a file, without \".\" and \"..\"");
    }
    return std::string(text);
}

ReadResult<std::vector<std::string>> read_path_list(std::string_view text, size_t max_length) {
    std::vector<std::string> paths;
    while (!text.empty()) {
        const size_t colon = text.find(':');
        const std::string_view path = text.substr(0, colon);
        if (path.empty() || path.front() != '/' || path.size() > max_length ||
            has_dot_component(path)) {
            return wanted("must be absolute folders without \".\" and \"..\", separated by colons");
        }
        const size_t last = path.find_last_not_of('/');
        paths.emplace_back(path.substr(0, last == std::string_view::npos ? 1 : last + 1));
        text.remove_prefix(colon == std::string_view::npos ? text.size() : colon + 1);
    }
    return paths;
}

ReadResult<bool> read_boolean(std::string_view text) {
    if (text == "true" || text == "false") {
        return text == "true";
    }
    return wanted("must be true or false");
}

ReadResult<uint32_t> read_integer(std::string_view text, uint32_t min, uint32_t max) {
    const auto value = parse_number(text, 10);
    if (!value || *value < min || *value > max) {
        return wanted("must be a whole number from " + std::to_string(min) + " to " +
                      std::to_string(max));
    }
    return *value;
}

ReadResult<uint32_t> read_octal(std::string_view text, uint32_t max) {
    const auto value = parse_number(text, 8);
    if (!value || *value > max) {
        return wanted("must be an octal number from 0 to 0777, for example 0660");
    }
    return *value;
}

ReadResult<std::string> read_mac(std::string_view text) {
    constexpr size_t length = 17;
    std::string mac(text);
    std::transform(mac.begin(), mac.end(), mac.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    bool good = mac.size() == length;
    for (size_t i = 0; good && i < length; i++) {
        good = i % 3 == 2 ? mac[i] == ':' : std::isxdigit(static_cast<unsigned char>(mac[i])) != 0;
    }
    if (!good) {
        return wanted("must be a MAC address of the form 02:00:00:00:00:01");
    }
    const auto first = parse_number(std::string_view(mac).substr(0, 2), 16);
    if ((first.value_or(1) & 1U) != 0 || mac == "00:00:00:00:00:00") {
        return wanted("must be a unicast MAC address that is not all zeros");
    }
    return mac;
}

ReadResult<Owner> read_owner(std::string_view text, size_t max_length) {
    const size_t colon = text.find(':');
    Owner owner;
    owner.user = text.substr(0, colon);
    if (colon != std::string_view::npos) {
        owner.group = text.substr(colon + 1);
    }
    const bool empty = owner.user.empty() && owner.group.empty();
    const bool trailing = colon != std::string_view::npos && owner.group.empty();
    if (empty || trailing || owner.group.find(':') != std::string::npos) {
        return wanted("must be user, user:group or :group");
    }
    if (text.size() > max_length) {
        return wanted("must be at most " + std::to_string(max_length) + " bytes long, is " +
                      std::to_string(text.size()));
    }
    return owner;
}

}  // namespace vdpa::schema
