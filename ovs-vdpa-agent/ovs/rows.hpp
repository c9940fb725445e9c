// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "schema/options.hpp"

namespace vdpa::agent::ovs {

using schema::StringMap;

/* An Interface row that is a vDPA port, as the database has it. Columns: vswitch.ovsschema. */
struct InterfaceRow {
    std::string name;
    std::string type;
    StringMap options;
    StringMap external_ids;             /* Status keys of ours included, as read back last. */
    std::optional<int64_t> mtu;         /* Of the netdev that ovs-vswitchd has opened. */
    std::optional<int64_t> mtu_request; /* What it shall be. */
    std::optional<int64_t> ofport;
    std::string link_state;    /* "up", "down" or empty. */
    std::string error;         /* What ovs-vswitchd says about the netdev; empty: nothing. */
    std::string bridge;        /* Empty: on no bridge. */
    std::string datapath_type; /* Of the bridge; empty means the kernel's, as "system" does. */

    bool operator==(const InterfaceRow &) const = default;
};

/* The Open_vSwitch row. */
struct GlobalRow {
    StringMap other_config;
    bool userspace_tso = false; /* other_config:userspace-tso-enable, read as OVS reads it. */

    bool operator==(const GlobalRow &) const = default;
};

/* What changed in the database since the last hand-over. */
struct Changes {
    /* This is everything: a vDPA port that is not in `interfaces` is gone. Set at the first read,
     * when the database was read anew after a reconnection, and after resync. */
    bool complete = false;
    /* vDPA ports that are new or differ, by more than our own status keys. A row that was deleted
     * and added again under the same name is here once, and not in `gone`. */
    std::vector<InterfaceRow> interfaces;
    /* Names whose row was deleted or is no vDPA port any more. */
    std::vector<std::string> gone;
    /* The Open_vSwitch row, if it changed (always when `complete`, if there is one). */
    std::optional<GlobalRow> global;
    /* Whether there is an Open_vSwitch row at all. Without one the database is being set up or was
     * wiped: what is served stays served. */
    bool has_global = false;
};

struct ConnectionState {
    bool connected = false;
    bool lock_held = false;      /* Only then may anything be written. */
    bool lock_contended = false; /* Another client holds the lock. */
    std::string remote;

    bool operator==(const ConnectionState &) const = default;
};

/* Wanted values of keys of external_ids. Keys that are not mentioned are left as they were wanted
 * before, or alone. */
struct StatusUpdate {
    std::string interface;                                  /* Empty: the Open_vSwitch row. */
    std::map<std::string, std::optional<std::string>> keys; /* nullopt: absent. */
};

}  // namespace vdpa::agent::ovs
