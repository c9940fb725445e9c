// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "schema/support/error.hpp"

namespace vdpa::schema {

/* "user:group", "user" or ":group" as written; what is absent is empty. */
struct Owner {
    std::string user;
    std::string group;

    bool operator==(const Owner &) const = default;
};

/* Readers of option values: the value, or what is wanted instead, as the end of the sentence
 * "vdpa-max-queues=abc: must be ...". */
template <typename T>
using ReadResult = tl::expected<T, std::string>;

ReadResult<std::string> read_string(std::string_view text, size_t max_length);
/* An absolute path without "." and ".." components. */
ReadResult<std::string> read_path(std::string_view text, size_t max_length);
ReadResult<std::vector<std::string>> read_path_list(std::string_view text, size_t max_length);
ReadResult<bool> read_boolean(std::string_view text);
ReadResult<uint32_t> read_integer(std::string_view text, uint32_t min, uint32_t max);
ReadResult<uint32_t> read_octal(std::string_view text, uint32_t max);
/* A unicast address that is not all zeros, in lower case. */
ReadResult<std::string> read_mac(std::string_view text);
ReadResult<Owner> read_owner(std::string_view text, size_t max_length);

template <typename T>
ReadResult<T> read_enum(std::string_view text, std::optional<T> (*from_string)(std::string_view),
                        const char *wanted) {
    if (const auto value = from_string(text)) {
        return *value;
    }
    return tl::make_unexpected(std::string("must be ") + wanted);
}

/* The value of `name` or of one of its aliases, whichever is present; two that differ are an
 * error. */
template <typename Map>
std::optional<std::string_view> find_option(const Map &values, const char *name,
                                            std::initializer_list<const char *> aliases,
                                            std::vector<Error> &errors) {
    const auto found = values.find(std::string_view(name));
    std::optional<std::string_view> text;
    if (found != values.end()) {
        text = found->second;
    }
    for (const char *alias : aliases) {
        const auto other = values.find(std::string_view(alias));
        if (other == values.end()) {
            continue;
        }
        if (text && *text != other->second) {
            errors.push_back({Reason::conflicting_keys,
                              std::string(name) + "=" + std::string(*text) + " and its alias " +
                                  alias + "=" + other->second + " differ: remove one"});
        }
        text = text.value_or(other->second);
    }
    return text;
}

/* Reads one option into `out`, or says in `errors` what is wrong with it. */
template <typename Map, typename Read, typename T>
void read_option(const Map &values, const char *name, std::initializer_list<const char *> aliases,
                 Reason reason, std::vector<Error> &errors, Read read, T &out) {
    const auto text = find_option(values, name, aliases, errors);
    if (!text) {
        return;
    }
    auto value = read(*text);
    if (value) {
        out = std::move(*value);
    } else {
        // The value comes from whoever writes the database; what we echo of it is bounded.
        errors.push_back({reason, std::string(name) + "=" + std::string(text->substr(0, 200)) +
                                      ": " + value.error()});
    }
}

}  // namespace vdpa::schema
