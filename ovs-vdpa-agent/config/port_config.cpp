// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/port_config.hpp"

#include <linux/if.h>

#include <algorithm>
#include <cctype>

#include "ovs-vdpa-agent/config/device_config.hpp"

namespace vdpa::agent::config {

namespace {

using schema::InterfaceOptions;
using schema::Reason;
using schema::StringMap;

constexpr uint32_t default_perms = 0660;

/* What the engine takes (schema/engine.json, PortSpec), and what the record of what we own is read
 * back with (host/owned_json.cpp): a longer name in it would make all of it unreadable. */
constexpr size_t longest_name = 255;

/* Whoever writes the database decides how long a value is; what is said of it is bounded. */
std::string excerpt(const std::string &value) {
    return value.substr(0, 200);
}

bool is_status_key(const std::string &key) {
    return std::any_of(std::begin(schema::interface_status_keys),
                       std::end(schema::interface_status_keys),
                       [&key](const char *ours) { return key == ours; });
}

/* The keys of ours in options and external_ids, as one map. */
StringMap merge(const ovs::InterfaceRow &row, std::vector<Error> &errors) {
    StringMap merged;
    for (const auto &[key, value] : row.external_ids) {
        if (schema::is_interface_key(key)) {
            merged.emplace(key, value);
        }
    }
    for (const auto &[key, value] : row.options) {
        if (!schema::is_interface_key(key)) {
            continue;
        }
        const auto [other, added] = merged.emplace(key, value);
        if (!added && other->second != value) {
            errors.push_back({Reason::conflicting_keys,
                              "options:" + key + "=" + excerpt(value) + " and external_ids:" + key +
                                  "=" + excerpt(other->second) + " differ: remove one"});
        }
    }
    return merged;
}

void note_unknown_keys(const ovs::InterfaceRow &row, std::vector<Error> &notices) {
    for (const auto *column : {&row.options, &row.external_ids}) {
        const char *const name = column == &row.options ? "options" : "external_ids";
        for (const auto &[key, value] : *column) {
            const bool known = schema::is_interface_key(key) ||
                               (column == &row.external_ids && is_status_key(key));
            if (key.starts_with("vdpa-") && !known) {
                notices.push_back(
                    {Reason::unknown_key, std::string(name) + ":" + key.substr(0, 64) +
                                              " means nothing and is ignored: check its spelling"});
            }
        }
    }
}

/* Names that the kernel takes for a netdev as they are (dev_valid_name() and dev_get_valid_name()
 * in net/core/dev.c). */
bool is_netdev_name(const std::string &name) {
    return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
           std::none_of(name.begin(), name.end(), [](unsigned char c) {
               // A percent sign makes it a pattern; 0xa0 is white space to the kernel.
               return c == '/' || c == ':' || c == '%' || c == 0xa0 || std::isspace(c) != 0;
           });
}

void check_name_and_type(const ovs::InterfaceRow &row, std::vector<Error> &errors) {
    if (!row.type.empty() && row.type != "system" && row.type != "dpdk") {
        errors.push_back({Reason::bad_type, "type=" + excerpt(row.type) +
                                                ": a vDPA port has an empty type, system or dpdk"});
    }
    if (row.type != "dpdk" && !is_netdev_name(row.name)) {
        errors.push_back(
            {Reason::bad_name, "the name " + excerpt(row.name) +
                                   " cannot be that of a netdev: it may have at most 15 bytes, and "
                                   "no slash, colon, percent sign or white space"});
    }
    // That of a dpdk port is no netdev's, and may be of any length.
    if (row.name.size() > longest_name) {
        errors.push_back({Reason::bad_name, excerpt(row.name) + "...: has " +
                                                std::to_string(row.name.size()) +
                                                " bytes; a vDPA port's name has at most " +
                                                std::to_string(longest_name)});
    }
}

/* The owner that a socket is to have, as far as it is known. */
struct SocketOwner {
    std::set<AccountName> accounts;  // that have to do with it
    std::optional<id_t> uid;
    std::optional<id_t> gid;
    std::optional<Error> problem;
    std::optional<Error> unresolved;
};

std::optional<id_t> find_account(const AccountName &name, const std::string &key,
                                 const Accounts &accounts, SocketOwner &owner) {
    if (name.name.empty()) {
        return std::nullopt;
    }
    owner.accounts.insert(name);
    const Account account = accounts.find(name);
    if (account.state == Account::State::found) {
        return account.id;
    }
    if (account.state == Account::State::missing) {
        owner.problem = owner.problem.value_or(
            Error{Reason::bad_socket_owner, key + ": there is no " + name.text()});
        return std::nullopt;
    }
    owner.unresolved = owner.unresolved.value_or(
        Error{Reason::owner_unresolved,
              key + ": the host's account database (NSS) has not said yet who " + name.text() +
                  " is: see whether getent(1) tells it, or give a number"});
    return std::nullopt;
}

/* That of the row, or else the host's default, as a whole. */
SocketOwner owner_of(const InterfaceOptions &options, const HostConfig &host,
                     const Accounts &accounts) {
    const auto &text = options.socket_owner ? options.socket_owner : host.options.socket_owner;
    SocketOwner owner;
    if (!text) {
        return owner;
    }
    const std::string key = std::string(options.socket_owner ? "" : "Open_vSwitch other_config:") +
                            "vdpa-socket-owner=" + text->user +
                            (text->group.empty() ? "" : ":" + text->group);
    owner.uid = find_account({AccountName::Kind::user, text->user}, key, accounts, owner);
    owner.gid = find_account({AccountName::Kind::group, text->group}, key, accounts, owner);
    return owner;
}

schema::SocketSpec socket_of(const InterfaceOptions &options, const HostConfig &host,
                             const SocketOwner &owner, std::vector<Error> &errors) {
    schema::SocketSpec socket;
    socket.path = options.socket.value_or("");
    socket.mode = options.socket_mode;
    socket.perms = options.socket_perms.value_or(host.options.socket_perms.value_or(default_perms));
    socket.uid = owner.uid;
    socket.gid = owner.gid;
    if (owner.problem) {
        errors.push_back(*owner.problem);
    }
    // What is to confine sockets and cannot be read must not let them go anywhere.
    const auto unreadable = std::ranges::find(host.errors, Reason::bad_sock_dirs, &Error::reason);
    if (unreadable != host.errors.end()) {
        errors.push_back({unreadable->reason, "Open_vSwitch other_config:" + unreadable->detail});
    }
    const auto &folders = host.options.sock_dirs;
    if (!socket.path.empty() && folders && !lies_below(socket.path, *folders)) {
        errors.push_back(
            {Reason::socket_dir_forbidden, "vdpa-socket=" + socket.path +
                                               ": lies outside the folders of Open_vSwitch "
                                               "other_config:vdpa-sock-dirs: choose a path below "
                                               "one of them, or add its folder to them"});
    }
    return socket;
}

/* Whether frames with unfinished checksums, and frames to be segmented, get through the bridge:
 * ovs-vswitchd's userspace datapath reads the TAP through a packet socket that does not carry the
 * virtio-net header (lib/netdev-linux.c), except with userspace-tso-enable. */
bool carries_offloads(const ovs::InterfaceRow &row, const HostConfig &host) {
    return row.datapath_type != "netdev" || host.userspace_tso;
}

std::optional<std::string> status_of(const ovs::InterfaceRow &row, const char *key) {
    const auto found = row.external_ids.find(std::string_view(key));
    return found == row.external_ids.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

ParsedRow parse_row(const ovs::InterfaceRow &row, const HostConfig &host,
                    const Accounts &accounts) {
    std::vector<Error> errors;
    std::vector<Error> notices;
    const StringMap values = merge(row, errors);
    const InterfaceOptions options = schema::parse_interface_options(values, errors);
    check_name_and_type(row, errors);
    if (!options.socket && errors.empty()) {
        errors.push_back({Reason::bad_socket_path, "vdpa-socket is missing"});
    }

    SocketOwner owner = owner_of(options, host, accounts);
    PortConfig config;
    config.name = row.name;
    config.engine.name = row.name;
    config.engine.socket = socket_of(options, host, owner, errors);
    read_device(row, options, config, errors);
    config.engine.max_queues = options.max_queues;
    config.engine.packed = options.packed;
    // A device finishes by itself what its guest leaves unfinished.
    config.engine.offloads = config.device.has_value() || carries_offloads(row, host);

    note_unknown_keys(row, notices);
    if (!config.engine.offloads) {
        notices.push_back(
            {Reason::offloads_withheld,
             "checksum and segmentation offloads are not offered because bridge " + row.bridge +
                 " has datapath_type=netdev; Open_vSwitch "
                 "other_config:userspace-tso-enable=true allows them, after a restart of "
                 "ovs-vswitchd"});
    }
    Expected<PortConfig> result = config;
    if (!errors.empty()) {
        result = tl::make_unexpected(errors.front());
    }
    const auto state = status_of(row, schema::key::vdpa_state);
    return {row.name,
            std::move(result),
            std::move(owner.unresolved),
            std::move(owner.accounts),
            std::move(notices),
            status_of(row, schema::key::vdpa_served_socket),
            status_of(row, schema::key::vdpa_function),
            status_of(row, schema::key::vdpa_engine),
            state && state != schema::to_string(schema::State::invalid)};
}

}  // namespace vdpa::agent::config
