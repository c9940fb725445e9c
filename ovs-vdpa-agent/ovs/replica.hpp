// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "ovs-vdpa-agent/ovs/shim/db.h"

namespace vdpa::agent::ovs {

struct UuidHash {
    /* Row UUIDs are random: any of their words is a hash. */
    size_t operator()(const ovda_uuid &uuid) const { return uuid.parts[0]; }
};
struct UuidEqual {
    bool operator()(const ovda_uuid &a, const ovda_uuid &b) const;
};
template <typename T>
using UuidMap = std::unordered_map<ovda_uuid, T, UuidHash, UuidEqual>;

/* Finds out what changed for us in the replica of the database. What it costs depends on the rows
 * that changed and on the number of vDPA ports, not on the number of rows. */
class Replica {
  public:
    /* Told of every Interface row, by name, whose external_ids may have changed and that is a vDPA
     * port, has status keys or `is_of_interest`; and of the Open_vSwitch row, by an empty name. */
    struct Observer {
        std::function<void(const std::string &)> external_ids_changed;
        std::function<bool(const std::string &)> is_of_interest;
    };

    Replica(const ovda_db *db, Observer observer);

    /* After each ovda_db_run(). With `complete`, or when the database was read anew, or the first
     * time, hands over everything. Nothing: nothing changed. */
    std::optional<Changes> collect(bool complete);

  private:
    struct Port {
        ovda_uuid uuid;
        std::optional<ovda_uuid> bridge; /* Row of the Bridge found last. */
        std::optional<InterfaceRow> handed_over;
    };

    bool was_read_anew() const;
    void collect_everything(Changes &changes);
    void collect_tracked(Changes &changes);
    void collect_ports();
    void collect_interfaces();
    void collect_bridges();
    void collect_global(Changes &changes);

    void add_port_row(const ovda_row *row);
    void add_interface_row(const ovda_row *row, bool external_ids_updated);
    void warn_of_misspelt_socket(const ovda_interface &interface);
    void remove_interface_row(ovda_uuid uuid);
    void mark_changed(ovda_uuid interface);
    void hand_over_changed(Changes &changes);
    const ovda_row *find_bridge(Port &port) const;
    InterfaceRow read(const ovda_row *row, Port &port) const;

    const ovda_db *db_;
    Observer observer_;
    bool ever_read_ = false;
    std::optional<ovda_uuid> global_;
    std::optional<GlobalRow> handed_over_global_;
    UuidMap<ovda_uuid> port_of_interface_; /* Every Interface; may name a Port that lost it. */
    std::map<std::string, Port> ports_;    /* vDPA ports by name. */
    UuidMap<std::string> names_;           /* Of the vDPA ports. */
    std::set<std::string> changed_;        /* To be compared with what was handed over. */
    std::set<std::string> gone_;           /* In this pass, unless added again. */
    /* Of rows that are no vDPA ports: the misspelt key that was warned of, by name. */
    std::map<std::string, std::string> warned_of_;
};

}  // namespace vdpa::agent::ovs
