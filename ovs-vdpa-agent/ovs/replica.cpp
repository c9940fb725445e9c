// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/replica.hpp"

#include <strings.h>

#include <cstring>
#include <utility>

#include "ovs-vdpa-agent/ovs/interface_keys.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::ovs {
namespace {

const log::Module module("replica");
log::RateLimit limit;

/* Rows of a table, all of them or those that the last run changed. */
class Rows {
  public:
    class Iterator {
      public:
        Iterator(const ovda_row *row, bool tracked) : row_(row), tracked_(tracked) {}
        const ovda_row *operator*() const { return row_; }
        Iterator &operator++() {
            row_ = ovda_row_next(row_, tracked_);
            return *this;
        }
        bool operator!=(const Iterator &other) const { return row_ != other.row_; }

      private:
        const ovda_row *row_;
        bool tracked_;
    };

    static Rows all(const ovda_db *db, ovda_table table) { return {db, table, false}; }
    static Rows tracked(const ovda_db *db, ovda_table table) { return {db, table, true}; }

    Iterator begin() const { return {ovda_db_first(db_, table_, tracked_), tracked_}; }
    Iterator end() const { return {nullptr, tracked_}; }

  private:
    Rows(const ovda_db *db, ovda_table table, bool tracked)
        : db_(db), table_(table), tracked_(tracked) {}

    const ovda_db *db_;
    ovda_table table_;
    bool tracked_;
};

StringMap to_string_map(const ovda_map *map) {
    StringMap result;
    ovda_map_visit(
        map,
        [](void *aux, const char *key, const char *value) noexcept {
            static_cast<StringMap *>(aux)->emplace(key, value);
        },
        &result);
    return result;
}

std::optional<int64_t> to_optional(const int64_t *value) {
    return value ? std::optional(*value) : std::nullopt;
}

/* Equal but for what we write ourselves. */
bool same_input(const InterfaceRow &a, const InterfaceRow &b) {
    const auto without_status = [](InterfaceRow row) {
        for (const char *key : schema::interface_status_keys) {
            row.external_ids.erase(key);
        }
        return row;
    };
    return without_status(a) == without_status(b);
}

}  // namespace

bool UuidEqual::operator()(const ovda_uuid &a, const ovda_uuid &b) const {
    return std::memcmp(a.parts, b.parts, sizeof a.parts) == 0;
}

Replica::Replica(const ovda_db *db, Observer observer) : db_(db), observer_(std::move(observer)) {}

std::optional<Changes> Replica::collect(bool complete) {
    Changes changes;
    if (!ever_read_ || complete || was_read_anew()) {
        ever_read_ = true;
        changes.complete = true;
        collect_everything(changes);
    } else {
        collect_tracked(changes);
    }
    changes.has_global = global_.has_value();
    const bool anything =
        changes.complete || !changes.interfaces.empty() || !changes.gone.empty() || changes.global;
    return anything ? std::optional(std::move(changes)) : std::nullopt;
}

/* Rows that are dropped because the database is read anew are not tracked as deleted. That rows
 * which were there are tracked as inserted tells; the Open_vSwitch row alone would not do, since a
 * row without a value in it is never tracked as inserted. */
bool Replica::was_read_anew() const {
    const ovda_row *global = ovda_db_first(db_, OVDA_GLOBAL, false);
    if (!global || !global_ || !UuidEqual{}(ovda_row_uuid(global), *global_) ||
        ovda_row_is_inserted(global)) {
        return global || global_;
    }
    for (const ovda_row *row : Rows::tracked(db_, OVDA_INTERFACE)) {
        if (ovda_row_is_inserted(row) && port_of_interface_.contains(ovda_row_uuid(row))) {
            return true;
        }
    }
    return false;
}

void Replica::collect_everything(Changes &changes) {
    port_of_interface_.clear();
    ports_.clear();
    names_.clear();
    handed_over_global_.reset();
    for (const ovda_row *row : Rows::all(db_, OVDA_PORT)) {
        add_port_row(row);
    }
    for (const ovda_row *row : Rows::all(db_, OVDA_INTERFACE)) {
        add_interface_row(row, true);
    }
    hand_over_changed(changes);
    gone_.clear();
    collect_global(changes);
}

void Replica::collect_tracked(Changes &changes) {
    /* In this order: which Bridge an Interface is on depends on its Port. */
    collect_ports();
    collect_interfaces();
    collect_bridges();
    hand_over_changed(changes);
    for (const std::string &name : std::exchange(gone_, {})) {
        if (!ports_.contains(name)) {
            changes.gone.push_back(name);
        }
    }
    collect_global(changes);
}

void Replica::collect_ports() {
    for (const ovda_row *row : Rows::tracked(db_, OVDA_PORT)) {
        if (ovda_row_is_deleted(row)) {
            for (size_t i = 0; i < ovda_port_n_interfaces(row); i++) {
                const ovda_uuid interface = ovda_port_interface(row, i);
                const auto found = port_of_interface_.find(interface);
                if (found != port_of_interface_.end() &&
                    UuidEqual{}(found->second, ovda_row_uuid(row))) {
                    port_of_interface_.erase(found);
                }
                mark_changed(interface);
            }
        } else if (ovda_port_interfaces_updated(row)) {
            add_port_row(row);
        }
    }
}

void Replica::collect_interfaces() {
    /* Deletions first: a row may be deleted and added under the same name at once. */
    for (const ovda_row *row : Rows::tracked(db_, OVDA_INTERFACE)) {
        if (ovda_row_is_deleted(row)) {
            port_of_interface_.erase(ovda_row_uuid(row));
            remove_interface_row(ovda_row_uuid(row));
        }
    }
    for (const ovda_row *row : Rows::tracked(db_, OVDA_INTERFACE)) {
        if (!ovda_row_is_deleted(row)) {
            add_interface_row(
                row, ovda_row_is_inserted(row) || ovda_interface_external_ids_updated(row));
        }
    }
}

void Replica::collect_bridges() {
    for (const ovda_row *row : Rows::tracked(db_, OVDA_BRIDGE)) {
        const ovda_uuid bridge = ovda_row_uuid(row);
        const bool deleted = ovda_row_is_deleted(row);
        const bool concerns_all = !deleted && ovda_bridge_settings_updated(row);
        for (const auto &[name, port] : ports_) {
            const bool was_on = port.bridge && UuidEqual{}(*port.bridge, bridge);
            const auto found = port_of_interface_.find(port.uuid);
            const bool is_on = !deleted && found != port_of_interface_.end() &&
                               ovda_bridge_has_port(row, found->second);
            /* Ports that come and go do not concern those that stay. */
            if (was_on != is_on || (is_on && concerns_all)) {
                changed_.insert(name);
            }
        }
    }
}

void Replica::collect_global(Changes &changes) {
    const ovda_row *row = ovda_db_first(db_, OVDA_GLOBAL, false);
    if (!row) {
        global_.reset();
        handed_over_global_.reset();
        return;
    }
    const bool same_row = global_ && UuidEqual{}(*global_, ovda_row_uuid(row));
    const bool touched = ovda_db_first(db_, OVDA_GLOBAL, true) != nullptr;
    global_ = ovda_row_uuid(row);
    if (same_row && !touched && !changes.complete) {
        return;
    }
    observer_.external_ids_changed("");
    GlobalRow global;
    global.other_config = to_string_map(ovda_global_other_config(row));
    /* As smap_get_bool() reads it. */
    const char *tso = ovda_map_get(ovda_global_other_config(row), "userspace-tso-enable");
    global.userspace_tso = tso && strcasecmp(tso, "true") == 0;
    if (handed_over_global_ != global) {
        handed_over_global_ = global;
        changes.global = std::move(global);
    }
}

void Replica::add_port_row(const ovda_row *row) {
    for (size_t i = 0; i < ovda_port_n_interfaces(row); i++) {
        const ovda_uuid interface = ovda_port_interface(row, i);
        port_of_interface_[interface] = ovda_row_uuid(row);
        mark_changed(interface);
    }
}

void Replica::add_interface_row(const ovda_row *row, bool external_ids_updated) {
    const ovda_uuid uuid = ovda_row_uuid(row);
    const ovda_interface interface = ovda_interface_read(row);
    const bool is_port = is_vdpa_port(interface);
    if (is_port) {
        Port &port = ports_[interface.name];
        port.uuid = uuid;
        names_[uuid] = interface.name;
        changed_.insert(interface.name);
    } else {
        remove_interface_row(uuid);
        warn_of_misspelt_socket(interface);
    }
    if (external_ids_updated || !is_port) {
        if (is_port || has_status_keys(interface) || observer_.is_of_interest(interface.name)) {
            observer_.external_ids_changed(interface.name);
        }
    }
}

/* Such a row is no vDPA port, so that nothing else is said of it anywhere. */
void Replica::warn_of_misspelt_socket(const ovda_interface &interface) {
    std::string key = unknown_option(interface);
    if (key.empty()) {
        warned_of_.erase(interface.name);
        return;
    }
    std::string &warned = warned_of_[interface.name];
    if (key != warned) {
        module.warn(limit, std::string(interface.name) + ": options:" + key +
                               " means nothing, and without options:vdpa-socket this is no vDPA "
                               "port: check its spelling");
        warned = std::move(key);
    }
}

void Replica::remove_interface_row(ovda_uuid uuid) {
    const auto found = names_.find(uuid);
    if (found != names_.end()) {
        gone_.insert(found->second);
        ports_.erase(found->second);
        names_.erase(found);
    }
}

void Replica::mark_changed(ovda_uuid interface) {
    const auto found = names_.find(interface);
    if (found != names_.end()) {
        changed_.insert(found->second);
    }
}

void Replica::hand_over_changed(Changes &changes) {
    for (const std::string &name : std::exchange(changed_, {})) {
        const auto found = ports_.find(name);
        if (found == ports_.end()) {
            continue;
        }
        Port &port = found->second;
        InterfaceRow row = read(ovda_db_find_uuid(db_, OVDA_INTERFACE, port.uuid), port);
        if (!port.handed_over || !same_input(*port.handed_over, row)) {
            port.handed_over = row;
            changes.interfaces.push_back(std::move(row));
        }
    }
}

const ovda_row *Replica::find_bridge(Port &port) const {
    const auto found = port_of_interface_.find(port.uuid);
    if (found == port_of_interface_.end()) {
        return nullptr;
    }
    if (port.bridge) {
        const ovda_row *last = ovda_db_find_uuid(db_, OVDA_BRIDGE, *port.bridge);
        if (last && ovda_bridge_has_port(last, found->second)) {
            return last;
        }
    }
    for (const ovda_row *row : Rows::all(db_, OVDA_BRIDGE)) {
        if (ovda_bridge_has_port(row, found->second)) {
            return row;
        }
    }
    return nullptr;
}

InterfaceRow Replica::read(const ovda_row *row, Port &port) const {
    const ovda_interface interface = ovda_interface_read(row);
    InterfaceRow result;
    result.name = interface.name;
    result.type = interface.type;
    result.options = to_string_map(interface.options);
    result.external_ids = to_string_map(interface.external_ids);
    result.mtu = to_optional(interface.mtu);
    result.mtu_request = to_optional(interface.mtu_request);
    result.ofport = to_optional(interface.ofport);
    result.link_state = interface.link_state;
    result.error = interface.error;
    const ovda_row *bridge = find_bridge(port);
    port.bridge.reset();
    if (bridge) {
        port.bridge = ovda_row_uuid(bridge);
        result.bridge = ovda_bridge_name(bridge);
        result.datapath_type = ovda_bridge_datapath_type(bridge);
    }
    return result;
}

}  // namespace vdpa::agent::ovs
