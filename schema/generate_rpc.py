# SPDX-License-Identifier: Apache-2.0
"""The C++ of the engine RPC: its types, their encoding and decoding, and the dispatcher."""

from cpp_text import BANNER, comment, enum, enum_code, named, quoted, snake


class Rpc:
    def __init__(self, engine):
        self.engine = engine
        self.enums = {e["name"] for e in engine["enums"]}
        self.types = {t["name"] for t in engine["types"]}

    def base_type(self, kind, field):
        if kind == "string":
            return "std::string"
        if kind == "boolean":
            return "bool"
        if kind == "integer":
            high = field.get("max", 2**63 - 1) if field["type"] == "integer" or "min" in field \
                else 2**63 - 1
            if field.get("min", 0) < 0:
                return "int64_t"
            return "uint32_t" if high < 2**32 else "uint64_t"
        return kind

    def cpp_type(self, field):
        kind = field["type"]
        if kind == "array":
            return f"std::vector<{self.base_type(field['of'], field)}>"
        if kind == "map":
            return "std::map<std::string, uint64_t>"
        base = self.base_type(kind, field)
        return f"std::optional<{base}>" if field.get("optional") else base

    def initial(self, field):
        if field.get("optional") or field["type"] in ("array", "map", "string"):
            return ""
        if field["type"] in self.types:
            return ""
        if field["type"] in self.enums:
            return "{}"
        if field["type"] == "boolean":
            return "false"
        return str(field.get("default", 0))

    def read_value(self, kind, field, target, source, indent):
        """Statements that read JSON `source` into C++ `target`."""
        pad = " " * indent
        if kind == "string":
            return (f"{pad}reader.read_string({source}, {field.get('min', 0)}, "
                    f"{field.get('max', 4096) if field['type'] == 'string' else 4096}, "
                    f"{target});\n")
        if kind == "boolean":
            return f"{pad}reader.read_boolean({source}, {target});\n"
        if kind == "integer":
            low, high = field.get("min", 0), field.get("max", 9007199254740991)
            if field["type"] == "map":
                low, high = 0, 9007199254740991
            cpp = self.base_type("integer", field) if field["type"] != "map" else "uint64_t"
            return (f"{pad}if (int64_t number = 0; reader.read_integer({source}, {low}, {high}, "
                    f"number)) {{\n{pad}    {target} = static_cast<{cpp}>(number);\n{pad}}}\n")
        return f"{pad}read({source}, reader, {target});\n"

    def read_field(self, field):
        name, kind = field["name"], field["type"]
        required = not (field.get("optional") or "default" in field)
        text = f"    if (const json *value = reader.member(object, {quoted(name)}, " \
               f"{'true' if required else 'false'})) {{\n"
        text += f"        const JsonReader::Scope scope(reader, {quoted(name)});\n"
        target = f"out.{name}"
        if kind == "array":
            text += f"        if (reader.expect_array(*value, " \
                    f"{field.get('max_items', field.get('max', 1024))})) {{\n"
            text += "            for (const json &element : *value) {\n"
            text += f"                {self.base_type(field['of'], field)} item{{}};\n"
            text += self.read_value(field["of"], field, "item", "element", 16)
            text += f"                {target}.push_back(std::move(item));\n"
            text += "            }\n        }\n"
        elif kind == "map":
            text += "        if (reader.expect_object(*value)) {\n"
            text += "            for (const auto &item : value->items()) {\n"
            text += f"                if ({target}.size() >= {field['max']}) {{\n"
            text += "                    reader.fail(\"has too many members\");\n"
            text += "                    break;\n                }\n"
            text += self.read_value("integer", field, f"{target}[item.key()]", "item.value()", 16)
            text += "            }\n        }\n"
        elif field.get("optional"):
            text += f"        {self.base_type(kind, field)} item{{}};\n"
            text += self.read_value(kind, field, "item", "*value", 8)
            text += f"        {target} = std::move(item);\n"
        else:
            text += self.read_value(kind, field, target, "*value", 8)
        return text + "    }\n"

    def write_value(self, kind, expression):
        if kind in self.types:
            return f"encode({expression})"
        return f"to_string({expression})" if kind in self.enums else expression

    def write_field(self, field):
        name, kind = field["name"], field["type"]
        if kind == "array" and field["of"] in self.types:
            return (f"    json {name} = json::array();\n"
                    f"    for (const auto &item : value.{name}) {{\n"
                    f"        {name}.push_back(encode(item));\n    }}\n"
                    f"    out[{quoted(name)}] = std::move({name});\n")
        if field.get("optional"):
            return (f"    if (value.{name}) {{\n        out[{quoted(name)}] = "
                    f"{self.write_value(kind, f'*value.{name}')};\n    }}\n")
        write = f"out[{quoted(name)}] = {self.write_value(kind, f'value.{name}')};\n"
        if field.get("default") is False:
            # Who does not know the word yet need not hear it.
            return f"    if (value.{name}) {{\n        {write}    }}\n"
        return f"    {write}"

    def header(self):
        e = self.engine
        text = BANNER + "#pragma once\n\n#include <cstdint>\n#include <map>\n"
        text += "#include <nlohmann/json_fwd.hpp>\n#include <optional>\n#include <string>\n"
        text += "#include <string_view>\n#include <tl/expected.hpp>\n#include <vector>\n\n"
        text += "namespace vdpa::schema {\n\n"
        text += f"inline constexpr uint32_t schema_major = {e['version']['major']};\n"
        text += f"inline constexpr uint32_t schema_minor = {e['version']['minor']};\n"
        text += f"inline constexpr size_t max_message_bytes = {e['max_message_bytes']};\n\n"
        for item in e["enums"]:
            text += enum(item["name"], named(item["values"]), item.get("doc", ""))
        for item in e["types"]:
            text += comment(item["doc"]) if "doc" in item else ""
            text += f"struct {item['name']} {{\n"
            for field in item["fields"]:
                text += comment(field["doc"], "    ") if "doc" in field else ""
                initial = self.initial(field)
                text += f"    {self.cpp_type(field)} {field['name']}" \
                        f"{' = ' + initial if initial and initial != '{}' else initial};\n"
            text += f"\n    bool operator==(const {item['name']} &) const = default;\n}};\n\n"
        text += comment("A decoded message, and the fields in it that this version of the schema "
                        "does not know.")
        text += "template <typename T>\nstruct Decoded {\n    T value;\n"
        text += "    std::vector<std::string> unknown_fields;\n};\n\n"
        text += comment("decode_X: the value, or a sentence that names the first member that is "
                        "missing, of the wrong type or out of range. `what` begins that sentence. "
                        "encode: the value as JSON.")
        for item in e["types"]:
            name = item["name"]
            text += f"nlohmann::json encode(const {name} &value);\n"
            text += f"tl::expected<Decoded<{name}>, std::string> decode_{snake(name)}(" \
                    "const nlohmann::json &object, std::string_view what);\n"
        text += "\n" + comment("Names of the methods and notifications.") + "namespace method {\n"
        for item in e["methods"] + e["notifications"]:
            text += comment(item["doc"])
            text += f"inline constexpr const char *{snake(item['name'])} = " \
                    f"{quoted(item['name'])};\n"
        text += "}  // namespace method\n\n"
        text += comment("JSON-RPC error codes.") + "enum class RpcError : int {\n"
        for item in e["errors"]:
            text += comment(item["doc"], "    ") + f"    {snake(item['name'])} = {item['code']},\n"
        text += "};\n\n"
        text += comment("Carries out the methods. Each answers by calling `reply` once, now or "
                        "later, on the thread that called it.")
        text += "struct RpcFailure {\n    RpcError code;\n    std::string message;\n};\n"
        text += "template <typename T>\nusing RpcResult = tl::expected<T, RpcFailure>;\n\n"
        text += "}  // namespace vdpa::schema\n"
        return text

    def server_header(self):
        e = self.engine
        text = BANNER + "#pragma once\n\n#include <functional>\n#include <nlohmann/json.hpp>\n\n"
        text += '#include "schema/engine_rpc.hpp"\n\nnamespace vdpa::schema {\n\n'
        text += comment("What an engine does for each method. Each calls `reply` exactly once, at "
                        "once or later.")
        text += "class EngineMethods {\n  public:\n"
        text += "    template <typename T>\n"
        text += "    using Reply = std::function<void(RpcResult<T>)>;\n\n"
        text += "    virtual ~EngineMethods() = default;\n"
        for item in e["methods"]:
            text += comment(item["doc"], "    ")
            params = "" if item["params"] == "Empty" else f"const {item['params']} &params, "
            text += f"    virtual void {snake(item['name'])}({params}" \
                    f"Reply<{item['result']}> reply) = 0;\n"
        text += "};\n\n"
        text += comment("Decodes the parameters of the named method, calls it, and hands the "
                        "encoded result on. An unknown method and bad parameters are answered "
                        "without a call. `on_unknown` gets the fields that this version does not "
                        "know.")
        text += "void dispatch(EngineMethods &methods, std::string_view method, " \
                "const nlohmann::json &params,\n"
        text += "              const std::function<void(const std::vector<std::string> &)> " \
                "&on_unknown,\n"
        text += "              std::function<void(RpcResult<nlohmann::json>)> reply);\n\n"
        return text + "}  // namespace vdpa::schema\n"

    def server_code(self):
        text = BANNER + '#include "schema/engine_methods.hpp"\n\n#include <utility>\n\n'
        text += "namespace vdpa::schema {\n\nvoid dispatch(EngineMethods &methods, " \
                "std::string_view method, const nlohmann::json &params,\n"
        text += "              const std::function<void(const std::vector<std::string> &)> " \
                "&on_unknown,\n"
        text += "              std::function<void(RpcResult<nlohmann::json>)> reply) {\n"
        for item in self.engine["methods"]:
            text += f"    if (method == method::{snake(item['name'])}) {{\n"
            text += f"        auto decoded = decode_{snake(item['params'])}(params, method);\n"
            text += "        if (!decoded) {\n"
            text += "            reply(tl::make_unexpected(RpcFailure{RpcError::invalid_params, " \
                    "decoded.error()}));\n            return;\n        }\n"
            text += "        if (!decoded->unknown_fields.empty()) {\n"
            text += "            on_unknown(decoded->unknown_fields);\n        }\n"
            params = "" if item["params"] == "Empty" else "decoded->value, "
            text += f"        methods.{snake(item['name'])}({params}" \
                    f"[reply = std::move(reply)](RpcResult<{item['result']}> result) {{\n"
            text += "            if (result) {\n                reply(encode(*result));\n"
            text += "            } else {\n                " \
                    "reply(tl::make_unexpected(result.error()));\n            }\n        });\n"
            text += "        return;\n    }\n"
        text += "    reply(tl::make_unexpected(RpcFailure{RpcError::method_not_found, " \
                "\"there is no method \" + std::string(method.substr(0, 64))}));\n"
        return text + "}\n\n}  // namespace vdpa::schema\n"

    def code(self):
        e = self.engine
        text = BANNER + '#include "schema/engine_rpc.hpp"\n\n#include <nlohmann/json.hpp>\n\n'
        text += '#include "schema/support/json_reader.hpp"\n\nnamespace vdpa::schema {\n\n'
        text += "using nlohmann::json;\n\n"
        for item in e["enums"]:
            text += enum_code(item["name"], named(item["values"]))
        text += "namespace {\n\n"
        for item in e["enums"]:
            name, values = item["name"], ", ".join(item["values"])
            text += f"void read(const json &value, JsonReader &reader, {name} &out) {{\n"
            text += "    std::string text;\n    if (!reader.read_string(value, 0, 64, text)) {\n" \
                    "        return;\n    }\n"
            text += f"    if (const auto known = {snake(name)}_from_string(text)) {{\n" \
                    "        out = *known;\n    } else {\n"
            text += f"        reader.fail({quoted('must be one of: ' + values)});\n    }}\n}}\n\n"
        for item in e["types"]:
            known = ", ".join(quoted(f["name"]) for f in item["fields"])
            used = "out" if item["fields"] else "/*out*/"
            text += f"void read(const json &object, JsonReader &reader, {item['name']} &{used}) {{\n"
            text += "    if (!reader.expect_object(object)) {\n        return;\n    }\n"
            text += "".join(self.read_field(field) for field in item["fields"])
            text += f"    reader.note_unknown(object, {{{known}}});\n}}\n\n"
        text += "}  // namespace\n\n"
        for item in e["types"]:
            name = item["name"]
            used = "value" if item["fields"] else "/*value*/"
            text += f"json encode(const {name} &{used}) {{\n    json out = json::object();\n"
            text += "".join(self.write_field(field) for field in item["fields"])
            text += "    return out;\n}\n\n"
            text += f"tl::expected<Decoded<{name}>, std::string> decode_{snake(name)}(" \
                    "const json &object, std::string_view what) {\n"
            text += f"    JsonReader reader{{std::string(what)}};\n    Decoded<{name}> out;\n"
            text += "    read(object, reader, out.value);\n    if (!reader.ok()) {\n"
            text += "        return tl::make_unexpected(reader.error());\n    }\n"
            text += "    out.unknown_fields = reader.unknown_fields();\n    return out;\n}\n\n"
        return text + "}  // namespace vdpa::schema\n"
