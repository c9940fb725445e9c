// SPDX-License-Identifier: Apache-2.0
// The record of what is ours, as JSON.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "schema/support/json_reader.hpp"

namespace vdpa::agent::host {

namespace {

using nlohmann::json;

constexpr int64_t oldest_version = 1;
constexpr int64_t file_version = 2;
constexpr size_t max_text = 255;

json to_json(const OwnedRepresentor &entry) {
    const FunctionPort &port = entry.port;
    json value = {{"pf", port.function.pf.text()},
                  {"flavour", port.function.flavour == Flavour::vf ? "vf" : "sf"},
                  {"number", port.function.number},
                  {"ifindex", entry.ifindex},
                  {"old_name", entry.old_name},
                  {"mac_set", entry.mac_set},
                  {"has_function_mac", port.has_function_mac},
                  {"pf_netdev", port.pf_netdev}};
    if (port.pf_ifindex != 0) {
        value["pf_ifindex"] = port.pf_ifindex;
    }
    if (!entry.row_before.empty()) {
        value["row_before"] = entry.row_before;
    }
    if (port.function.controller) {
        value["controller"] = *port.function.controller;
    }
    if (port.function.pf_number) {
        value["pf_number"] = *port.function.pf_number;
    }
    if (!port.devlink.bus.empty()) {
        value["devlink"] = port.devlink.text();
    }
    if (port.devlink_port) {
        value["devlink_port"] = *port.devlink_port;
    }
    return value;
}

json to_json(const OwnedVdpa &entry) {
    json value = {
        {"management", entry.management}, {"mac", entry.mac}, {"max_pairs", entry.max_pairs}};
    if (entry.mtu) {
        value["mtu"] = *entry.mtu;
    }
    return value;
}

json to_json(const OwnedPf &entry) {
    json value = {{"was_legacy", entry.was_legacy}};
    if (entry.num_vfs) {
        value["num_vfs"] = *entry.num_vfs;
    }
    if (entry.made_vfs) {
        value["made_vfs"] = *entry.made_vfs;
    }
    return value;
}

/* Reads the members of one object. What is wrong is kept by the reader. */
class Members {
  public:
    Members(JsonReader &reader, const json &object) : reader_(reader), object_(object) {
        reader_.expect_object(object);
    }

    std::string text(const char *name, bool required = true) {
        std::string out;
        if (const json *value = find(name, required)) {
            const JsonReader::Scope scope(reader_, name);
            reader_.read_string(*value, 0, max_text, out);
        }
        return out;
    }
    template <typename T>
    std::optional<T> number(const char *name, bool required, int64_t min = 0,
                            int64_t max = std::numeric_limits<T>::max()) {
        int64_t out = 0;
        const json *value = find(name, required);
        if (!value) {
            return std::nullopt;
        }
        const JsonReader::Scope scope(reader_, name);
        reader_.read_integer(*value, min, max, out);
        return static_cast<T>(out);
    }
    bool boolean(const char *name) {
        bool out = false;
        if (const json *value = find(name, true)) {
            const JsonReader::Scope scope(reader_, name);
            reader_.read_boolean(*value, out);
        }
        return out;
    }
    std::optional<Handle> handle(const char *name, bool required) {
        if (!find(name, required)) {
            return std::nullopt;
        }
        return parse(text(name), name);
    }
    Handle parse(const std::string &text, const char *what) {
        const size_t slash = text.find('/');
        if (slash == 0 || slash == std::string::npos || slash + 1 == text.size()) {
            reader_.fail(std::string(what) + " must be bus/device");
            return {};
        }
        return {text.substr(0, slash), text.substr(slash + 1)};
    }

  private:
    const json *find(const char *name, bool required) {
        return object_.is_object() ? reader_.member(object_, name, required) : nullptr;
    }
    JsonReader &reader_;
    const json &object_;
};

OwnedRepresentor read_representor(JsonReader &reader, const json &value) {
    Members members(reader, value);
    OwnedRepresentor entry;
    FunctionId &function = entry.port.function;
    function.pf = members.handle("pf", true).value_or(Handle{});
    const std::string flavour = members.text("flavour");
    if (reader.ok() && flavour != "vf" && flavour != "sf") {
        reader.fail("flavour must be vf or sf");
    }
    function.flavour = flavour == "sf" ? Flavour::sf : Flavour::vf;
    function.number = members.number<uint32_t>("number", true).value_or(0);
    function.controller = members.number<uint32_t>("controller", false);
    function.pf_number = members.number<uint16_t>("pf_number", false);
    entry.ifindex = members.number<int>("ifindex", true).value_or(0);
    entry.old_name = members.text("old_name");
    entry.row_before = members.text("row_before", false);
    entry.mac_set = members.boolean("mac_set");
    entry.port.devlink = members.handle("devlink", false).value_or(Handle{});
    entry.port.devlink_port = members.number<uint32_t>("devlink_port", false);
    entry.port.has_function_mac = members.boolean("has_function_mac");
    entry.port.pf_netdev = members.text("pf_netdev");
    // Earlier agents recorded the name alone.
    entry.port.pf_ifindex = members.number<int>("pf_ifindex", false).value_or(0);
    return entry;
}

OwnedVdpa read_vdpa(JsonReader &reader, const json &value) {
    Members members(reader, value);
    OwnedVdpa entry;
    entry.management = members.text("management");
    entry.mac = members.text("mac");
    entry.mtu = members.number<uint16_t>("mtu", false);
    entry.max_pairs = members.number<uint16_t>("max_pairs", true).value_or(0);
    return entry;
}

OwnedPf read_pf(JsonReader &reader, const json &value) {
    Members members(reader, value);
    OwnedPf entry;
    entry.num_vfs = members.number<uint32_t>("num_vfs", false);
    entry.was_legacy = members.boolean("was_legacy");
    entry.made_vfs = members.number<uint32_t>("made_vfs", false);
    return entry;
}

/* Calls `take` with the reader one step down, for each member of the object of that name. */
template <typename Take>
void each(JsonReader &reader, const json &root, const char *name, bool required, Take take) {
    const json *object = reader.member(root, name, required);
    const JsonReader::Scope scope(reader, name);
    if (!object || !reader.expect_object(*object)) {
        return;
    }
    for (const auto &item : object->items()) {
        const JsonReader::Scope inner(reader, std::string_view(item.key()).substr(0, max_text));
        if (item.key().empty() || item.key().size() > max_text) {
            reader.fail("has a name of the wrong length");
        }
        take(item.key(), item.value());
    }
}

Owned read_sections(JsonReader &reader, const json &root) {
    Owned owned;
    Members keys(reader, root);
    const auto read_taps = [&](const char *section, bool required,
                               std::map<std::string, int> &taps) {
        each(reader, root, section, required, [&](const std::string &name, const json &value) {
            int64_t ifindex = 0;
            reader.read_integer(value, 1, INT32_MAX, ifindex);
            taps[name] = static_cast<int>(ifindex);
        });
    };
    read_taps("taps", true, owned.taps);
    read_taps("unfinished_taps", false, owned.unfinished_taps);
    each(reader, root, "representors", false, [&](const std::string &name, const json &value) {
        owned.representors[name] = read_representor(reader, value);
    });
    each(reader, root, "unbound", false, [&](const std::string &name, const json &value) {
        std::string driver;
        reader.read_string(value, 1, max_text, driver);
        owned.unbound[keys.parse(name, "the device")] = driver;
    });
    each(reader, root, "vdpa", false, [&](const std::string &name, const json &value) {
        owned.vdpa[name] = read_vdpa(reader, value);
    });
    each(reader, root, "pfs", false, [&](const std::string &name, const json &value) {
        owned.pfs[keys.parse(name, "the PF")] = read_pf(reader, value);
    });
    return owned;
}

std::string key_text(const std::string &name) {
    return name;
}
std::string key_text(const Handle &device) {
    return device.text();
}

std::string line(const json &value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

/* Adds what differs to the section of that name: null stands for what is not there any more. */
template <typename Map, typename ToJson>
void compare(json &changes, const char *section, const Map &before, const Map &after,
             ToJson to_value) {
    for (const auto &[key, value] : before) {
        if (!after.contains(key)) {
            changes[section][key_text(key)] = nullptr;
        }
    }
    for (const auto &[key, value] : after) {
        const auto found = before.find(key);
        if (found == before.end() || !(found->second == value)) {
            changes[section][key_text(key)] = to_value(value);
        }
    }
}

/* One line of changes. False: it is malformed. */
bool apply_line(json &root, std::string_view text) {
    const json changes = parse_untrusted_json(text);
    if (!changes.is_object()) {
        return false;
    }
    for (const auto &section : changes.items()) {
        json &entries = root[section.key()];
        if (!section.value().is_object() || !(entries.is_null() || entries.is_object())) {
            return false;
        }
        for (const auto &entry : section.value().items()) {
            if (entry.value().is_null() && !entries.is_null()) {
                entries.erase(entry.key());
            } else if (!entry.value().is_null()) {
                entries[entry.key()] = entry.value();
            }
        }
    }
    return true;
}

/* Whether more can be appended to these changes. */
Expected<bool> apply_changes(json &root, std::string_view text, uint64_t serial,
                             const std::string &path) {
    const std::string head = write_changes_head(serial);
    if (!text.starts_with(head)) {
        return false;
    }
    text.remove_prefix(head.size());
    for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        if (!apply_line(root, text.substr(0, end))) {
            return fail(schema::Reason::record_failed,
                        path +
                            ".changes: has a line that is not ours; move it away if nothing "
                            "that was recorded last is needed");
        }
        text.remove_prefix(end + 1);
    }
    return text.empty();
}

}  // namespace

std::string write_owned(const Owned &owned, const std::string &boot_id, uint64_t serial) {
    json root = {{"version", file_version},
                 {"serial", serial},
                 {"boot_id", boot_id},
                 {"taps", owned.taps},
                 {"unfinished_taps", owned.unfinished_taps},
                 {"representors", json::object()},
                 {"unbound", json::object()},
                 {"vdpa", json::object()},
                 {"pfs", json::object()}};
    for (const auto &[name, entry] : owned.representors) {
        root["representors"][name] = to_json(entry);
    }
    for (const auto &[device, driver] : owned.unbound) {
        root["unbound"][device.text()] = driver;
    }
    for (const auto &[name, entry] : owned.vdpa) {
        root["vdpa"][name] = to_json(entry);
    }
    for (const auto &[handle, entry] : owned.pfs) {
        root["pfs"][handle.text()] = to_json(entry);
    }
    return root.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string write_changes_head(uint64_t serial) {
    return line({{"serial", serial}});
}

std::string write_changes(const Owned &before, const Owned &after) {
    json changes = json::object();
    const auto as_is = [](const auto &value) { return json(value); };
    const auto entry = [](const auto &value) { return to_json(value); };
    compare(changes, "taps", before.taps, after.taps, as_is);
    compare(changes, "unfinished_taps", before.unfinished_taps, after.unfinished_taps, as_is);
    compare(changes, "representors", before.representors, after.representors, entry);
    compare(changes, "unbound", before.unbound, after.unbound, as_is);
    compare(changes, "vdpa", before.vdpa, after.vdpa, entry);
    compare(changes, "pfs", before.pfs, after.pfs, entry);
    return line(changes);
}

Expected<OwnedText> read_owned(const std::string &text, const std::string &changes,
                               const std::string &boot_id, const std::string &path) {
    json root = parse_untrusted_json(text);
    if (root.is_discarded()) {
        return fail(schema::Reason::record_failed,
                    path + ": is no JSON; move it away if nothing that it lists is needed");
    }
    JsonReader reader(path);
    OwnedText read;
    bool is_of_this_boot = false;
    if (reader.expect_object(root)) {
        Members members(reader, root);
        members.number<int64_t>("version", true, oldest_version, file_version);
        is_of_this_boot = members.text("boot_id") == boot_id;
        read.serial = members.number<uint64_t>("serial", false, 0, INT64_MAX).value_or(0);
        // Whatever else a boot that ended at once may have left of them.
        if (reader.ok() && is_of_this_boot) {
            auto applied = apply_changes(root, changes, read.serial, path);
            if (!applied) {
                return tl::make_unexpected(applied.error());
            }
            read.has_changes = *applied;
        }
        read.owned = read_sections(reader, root);
    }
    if (!reader.ok()) {
        return fail(schema::Reason::record_failed, reader.error());
    }
    if (!is_of_this_boot) {
        read.owned = {};
    }
    read.may_grow = is_of_this_boot && read.serial != 0;
    return read;
}

}  // namespace vdpa::agent::host
