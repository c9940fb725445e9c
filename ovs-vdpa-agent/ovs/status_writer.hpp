// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "ovs-vdpa-agent/ovs/shim/db.h"

namespace vdpa::agent::ovs {

/* Keeps the status keys in external_ids as they are wanted. What differs is collected while a
 * transaction is under way, what is wanted newly for a moment after one was begun, too, and goes
 * into the next one: so a burst of updates takes few transactions, and a single one no longer than
 * a round trip.
 *
 * A transaction that the server refuses is repeated row by row, so that one bad row does not keep
 * the others from being written; a row refused alone is tried again when it, or what is wanted of
 * it, changes, and at growing intervals, for it may have been the server that could not write. */
class StatusWriter {
  public:
    explicit StatusWriter(ovda_db *db);

    void want(std::vector<StatusUpdate> updates);
    bool wants(const std::string &interface) const { return wanted_.contains(interface); }

    /* The database's value may have changed: of one row (empty name: the Open_vSwitch row), of
     * all. */
    void recheck(const std::string &interface);
    void recheck_all();

    /* After each ovda_db_run(): goes on with the transaction under way, or begins one if there is
     * something to write and `may_write`. */
    void run(bool may_write);
    /* Makes the next ovda_loop_block() end when run() has something to do although nothing has
     * happened. */
    void wait(bool may_write) const;

    /* Whether everything wanted has been written, as far as is known, or was refused. */
    bool is_idle() const {
        return in_flight_.empty() && to_check_.empty() && to_write_.empty() && alone_.empty();
    }

  private:
    using Clock = std::chrono::steady_clock;
    using Keys = std::map<std::string, std::optional<std::string>>;

    bool may_begin(bool may_write) const;
    bool is_held_back() const { return Clock::now() < not_before_; }
    void finish_transaction();
    void retry_later(const std::string &row);
    void begin_transaction();
    bool write_row(const std::string &interface);
    bool write_keys(const ovda_row *row, const ovda_map *external_ids, const Keys &keys);

    ovda_db *db_;
    std::map<std::string, Keys> wanted_;
    std::set<std::string> to_write_; /* Of which something is wanted newly. */
    std::set<std::string> to_check_; /* Others that may differ from what is wanted. */
    std::set<std::string> alone_;    /* To be written one by one, after an error. */
    std::vector<std::string> in_flight_;
    std::optional<unsigned int> wait_beyond_; /* Nothing can succeed until seqno differs. */
    unsigned int begun_at_ = 0;               /* seqno */
    bool transaction_open_ = false;
    Clock::time_point not_before_{}; /* For to_write_. */
    std::set<std::string> refused_;  /* To be tried again at retry_at_. */
    std::optional<Clock::time_point> retry_at_;
    std::chrono::seconds retry_after_{0};
};

}  // namespace vdpa::agent::ovs
