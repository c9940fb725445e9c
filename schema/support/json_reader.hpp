// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vdpa {

/* Parses JSON from a peer. Returns a discarded value (json::is_discarded()) when the text is no
 * JSON or nests deeper than any message of ours does. Never throws. */
nlohmann::json parse_untrusted_json(std::string_view text);

/* Takes values out of JSON that a peer sent, with the checks that the schema asks for. The first
 * thing wrong is kept as a sentence with the path of the value; fields that the schema does not
 * know are noted and no error, so that a newer peer may send more. The readers never throw. */
class JsonReader {
  public:
    /* `what` names the whole in messages, for example "port.apply". */
    explicit JsonReader(std::string what) : path_(std::move(what)) {}

    bool ok() const { return error_.empty(); }
    const std::string &error() const { return error_; }
    const std::vector<std::string> &unknown_fields() const { return unknown_; }

    /* One step down into a field or an element, for messages; undone when it goes out of scope. */
    class Scope {
      public:
        Scope(JsonReader &reader, std::string_view field);
        ~Scope();
        Scope(const Scope &) = delete;
        Scope &operator=(const Scope &) = delete;

      private:
        JsonReader &reader_;
        size_t length_;
    };

    /* Each reads `value` into `out` and returns whether it was right. */
    bool read_string(const nlohmann::json &value, size_t min, size_t max, std::string &out);
    bool read_integer(const nlohmann::json &value, int64_t min, int64_t max, int64_t &out);
    bool read_boolean(const nlohmann::json &value, bool &out);
    bool expect_object(const nlohmann::json &value);
    bool expect_array(const nlohmann::json &value, size_t max);

    /* The named member, or null where there is none; a missing `required` one is an error. */
    const nlohmann::json *member(const nlohmann::json &object, const char *name, bool required);

    void fail(std::string_view problem);
    void note_unknown(const nlohmann::json &object, std::initializer_list<std::string_view> known);

  private:
    std::string path_;
    std::string error_;
    std::vector<std::string> unknown_;
};

}  // namespace vdpa
