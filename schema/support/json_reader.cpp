// SPDX-License-Identifier: Apache-2.0
#include "schema/support/json_reader.hpp"

#include <algorithm>

namespace vdpa {

namespace {

/* Our deepest message nests six levels. */
constexpr int max_depth = 16;

/* A peer decides how many fields it makes up. */
constexpr size_t max_unknown_noted = 16;

}  // namespace

nlohmann::json parse_untrusted_json(std::string_view text) {
    bool too_deep = false;
    auto watch_depth = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json &) {
        too_deep = too_deep || depth > max_depth;
        return !too_deep;
    };
    nlohmann::json parsed = nlohmann::json::parse(text.begin(), text.end(), watch_depth, false);
    return too_deep ? nlohmann::json(nlohmann::json::value_t::discarded) : parsed;
}

JsonReader::Scope::Scope(JsonReader &reader, std::string_view field)
    : reader_(reader), length_(reader.path_.size()) {
    reader_.path_.append(".").append(field);
}

JsonReader::Scope::~Scope() {
    reader_.path_.resize(length_);
}

void JsonReader::fail(std::string_view problem) {
    if (error_.empty()) {
        error_.append(path_).append(": ").append(problem);
    }
}

bool JsonReader::read_string(const nlohmann::json &value, size_t min, size_t max,
                             std::string &out) {
    const auto *text = value.get_ptr<const std::string *>();
    if (!text) {
        fail("must be a string");
        return false;
    }
    if (text->size() < min || text->size() > max) {
        fail("must have " + std::to_string(min) + " to " + std::to_string(max) + " bytes, has " +
             std::to_string(text->size()));
        return false;
    }
    if (text->find('\0') != std::string::npos) {
        fail("must not hold a NUL byte");
        return false;
    }
    out = *text;
    return true;
}

bool JsonReader::read_integer(const nlohmann::json &value, int64_t min, int64_t max, int64_t &out) {
    const bool huge =
        value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (!value.is_number_integer() || huge || value.get<int64_t>() < min ||
        value.get<int64_t>() > max) {
        fail("must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
        return false;
    }
    out = value.get<int64_t>();
    return true;
}

bool JsonReader::read_boolean(const nlohmann::json &value, bool &out) {
    if (!value.is_boolean()) {
        fail("must be true or false");
        return false;
    }
    out = value.get<bool>();
    return true;
}

bool JsonReader::expect_object(const nlohmann::json &value) {
    if (!value.is_object()) {
        fail("must be an object");
        return false;
    }
    return true;
}

bool JsonReader::expect_array(const nlohmann::json &value, size_t max) {
    if (!value.is_array()) {
        fail("must be an array");
        return false;
    }
    if (value.size() > max) {
        fail("must have at most " + std::to_string(max) + " elements, has " +
             std::to_string(value.size()));
        return false;
    }
    return true;
}

const nlohmann::json *JsonReader::member(const nlohmann::json &object, const char *name,
                                         bool required) {
    const auto found = object.find(name);
    if (found != object.end() && !found->is_null()) {
        return &*found;
    }
    if (required) {
        fail(std::string(name) + " is missing");
    }
    return nullptr;
}

void JsonReader::note_unknown(const nlohmann::json &object,
                              std::initializer_list<std::string_view> known) {
    for (const auto &item : object.items()) {
        if (unknown_.size() >= max_unknown_noted) {
            return;
        }
        if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
            unknown_.push_back(path_ + "." + item.key().substr(0, 64));
        }
    }
}

}  // namespace vdpa
