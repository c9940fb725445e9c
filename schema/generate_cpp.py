# SPDX-License-Identifier: Apache-2.0
"""The C++ that agent and engine share: status codes, Interface options, engine RPC."""

import generate_rpc
from cpp_text import BANNER, comment, enum, enum_code, quoted, snake

# ---------------------------------------------------------------------------------------------
# status


def status_header(status):
    text = BANNER + "#pragma once\n\n#include <optional>\n#include <string_view>\n\n"
    text += "namespace vdpa::schema {\n\n"
    text += enum("State", status["states"], "Value of external_ids:vdpa-state.")
    text += enum("Reason", status["reasons"], "Value of external_ids:vdpa-reason.")
    text += comment("The state that a port with this reason is in; nothing for a reason that goes "
                    "with a port that is served.")
    text += "std::optional<State> state_of(Reason reason);\n\n"
    text += "namespace key {\n"
    for key in status["interface_keys"] + status["host_keys"]:
        text += comment(key["doc"])
        text += f"inline constexpr const char *{snake(key['name'])} = {quoted(key['name'])};\n"
    text += "}  // namespace key\n\n"
    for what in ("interface", "host"):
        keys = status[f"{what}_keys"]
        text += comment(f"Every key of external_ids that the agent writes into "
                        f"{'an Interface' if what == 'interface' else 'the Open_vSwitch'} row.")
        text += f"inline constexpr const char *{what}_status_keys[] = {{\n"
        text += "".join(f"    key::{snake(key['name'])},\n" for key in keys) + "};\n\n"
    return text + "}  // namespace vdpa::schema\n"


def status_code(status):
    text = BANNER + '#include "schema/status.hpp"\n\nnamespace vdpa::schema {\n\n'
    text += enum_code("State", status["states"]) + enum_code("Reason", status["reasons"])
    text += "std::optional<State> state_of(Reason reason) {\n    switch (reason) {\n"
    for reason in status["reasons"]:
        state = f"State::{reason['state']}" if "state" in reason else "std::nullopt"
        text += f"        case Reason::{snake(reason['name'])}:\n            return {state};\n"
    return text + "    }\n    return std::nullopt;\n}\n\n}  // namespace vdpa::schema\n"


# ---------------------------------------------------------------------------------------------
# options

OPTION_CPP = {"path": "std::string", "string": "std::string", "mac": "std::string",
              "owner": "Owner", "octal": "uint32_t", "boolean": "bool", "integer": "uint32_t",
              "path-list": "std::vector<std::string>"}


def option_field(key):
    return snake(key["name"].removeprefix("vdpa-"))


def option_type(key):
    return key["cpp"] if key["type"] == "enum" else OPTION_CPP[key["type"]]


def option_call(key):
    """The call of schema/support/option_values.hpp that reads this key's value."""
    kind = key["type"]
    if kind in ("path", "string", "owner", "path-list"):
        return f"read_{snake(kind)}(text, {key['max_length']})"
    if kind == "octal":
        return f"read_octal(text, {key['max']})"
    if kind == "integer":
        return f"read_integer(text, {key['min']}, {key['max']})"
    if kind == "enum":
        return (f"read_enum(text, {snake(key['cpp'])}_from_string, "
                f"{quoted(' or '.join(key['values']))})")
    return f"read_{kind}(text)"


def option_default(key):
    if "default" not in key:
        return ""
    kind, default = key["type"], key["default"]
    if kind == "enum":
        return f"{key['cpp']}::{snake(default)}"
    return default if kind in ("boolean", "integer", "octal") else quoted(default)


def options_header(options):
    text = BANNER + "#pragma once\n\n#include <map>\n#include <optional>\n#include <string>\n"
    text += "#include <string_view>\n#include <vector>\n\n"
    text += '#include "schema/engine_rpc.hpp"\n#include "schema/support/error.hpp"\n'
    text += '#include "schema/support/option_values.hpp"\n\nnamespace vdpa::schema {\n\n'
    text += comment("Keys and values as a row of the database has them.")
    text += "using StringMap = std::map<std::string, std::string, std::less<>>;\n\n"
    for scope, struct in (("interface", "InterfaceOptions"), ("global", "GlobalOptions")):
        text += comment(options[scope]["doc"]) + f"struct {struct} {{\n"
        for key in options[scope]["keys"]:
            default = option_default(key)
            text += comment(f"{key['name']}: {key['doc']}", "    ")
            text += f"    {option_type(key)} {option_field(key)} = {default};\n" if default else \
                f"    std::optional<{option_type(key)}> {option_field(key)};\n"
        text += f"\n    bool operator==(const {struct} &) const = default;\n}};\n\n"
        text += comment("Reads the keys of ours in `values`. A key with a bad value keeps its "
                        "default and adds to `errors` which key, which value and what is wanted.")
        text += f"{struct} parse_{scope}_options(const StringMap &values, " \
                "std::vector<Error> &errors);\n\n"
        text += comment("Whether the key, or alias, is one of ours.")
        text += f"bool is_{scope}_key(std::string_view key);\n\n"
        text += f"namespace {scope}_key {{\n"
        for key in options[scope]["keys"]:
            text += f"inline constexpr const char *{option_field(key)} = {quoted(key['name'])};\n"
            if key.get("aliases"):
                names = ", ".join(quoted(n) for n in [key["name"], *key["aliases"]])
                text += "/* The key and its aliases. */\n"
                text += f"inline constexpr const char *{option_field(key)}_names[] = {{{names}}};\n"
        text += f"}}  // namespace {scope}_key\n\n"
    return text + "}  // namespace vdpa::schema\n"


def options_code(options):
    text = BANNER + '#include "schema/options.hpp"\n\nnamespace vdpa::schema {\n\n'
    for scope, struct in (("interface", "InterfaceOptions"), ("global", "GlobalOptions")):
        keys = options[scope]["keys"]
        text += f"{struct} parse_{scope}_options(const StringMap &values, " \
                "std::vector<Error> &errors) {\n"
        text += f"    {struct} out;\n"
        for key in keys:
            aliases = "{" + ", ".join(quoted(a) for a in key.get("aliases", [])) + "}"
            text += f"    read_option(values, {quoted(key['name'])}, {aliases},\n"
            text += f"                Reason::{snake(key['error'])}, errors,\n"
            text += f"                [](std::string_view text) {{ return {option_call(key)}; }},\n"
            text += f"                out.{option_field(key)});\n"
        text += "    return out;\n}\n\n"
        text += f"bool is_{scope}_key(std::string_view key) {{\n    return "
        every = [name for key in keys for name in [key["name"], *key.get("aliases", [])]]
        text += " ||\n           ".join(f"key == {quoted(name)}" for name in every) + ";\n}\n\n"
    return text + "}  // namespace vdpa::schema\n"


def files(schema):
    rpc = generate_rpc.Rpc(schema["engine"])
    return {"status.hpp": status_header(schema["status"]),
            "status.cpp": status_code(schema["status"]),
            "options.hpp": options_header(schema["options"]),
            "options.cpp": options_code(schema["options"]),
            "engine_rpc.hpp": rpc.header(),
            "engine_rpc.cpp": rpc.code(),
            "engine_methods.hpp": rpc.server_header(),
            "engine_methods.cpp": rpc.server_code()}
