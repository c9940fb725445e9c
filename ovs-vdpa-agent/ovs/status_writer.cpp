// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/status_writer.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "ovs-vdpa-agent/ovs/interface_keys.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/ovs/shim/loop.h"
#include "ovs-vdpa-agent/ovs/utf8.hpp"

namespace vdpa::agent::ovs {
namespace {

const log::Module log_module{"status_writer"};

/* Between the beginnings of two transactions. Each costs ovsdb-server and all its clients some
 * tenths of a millisecond, and ports that become ready one after the other would bring one each. */
constexpr std::chrono::milliseconds pause{30};
/* Between attempts at rows that were refused. */
constexpr std::chrono::seconds first_retry{1};
constexpr std::chrono::seconds last_retry{60};

}  // namespace

StatusWriter::StatusWriter(ovda_db *db) : db_(db) {}

void StatusWriter::want(std::vector<StatusUpdate> updates) {
    for (StatusUpdate &update : updates) {
        Keys &keys = wanted_[update.interface];
        for (auto &[key, value] : update.keys) {
            keys[key] = value ? std::optional(valid_utf8(*value)) : std::nullopt;
        }
        to_check_.erase(update.interface);
        to_write_.insert(std::move(update.interface));
    }
}

void StatusWriter::recheck(const std::string &interface) {
    if (!to_write_.contains(interface)) {
        to_check_.insert(interface);
    }
}

void StatusWriter::recheck_all() {
    for (const auto &[interface, keys] : wanted_) {
        recheck(interface);
    }
}

void StatusWriter::run(bool may_write) {
    if (!in_flight_.empty()) {
        finish_transaction();
    }
    if (retry_at_ && Clock::now() >= *retry_at_) {
        retry_at_.reset();
        std::ranges::for_each(std::exchange(refused_, {}),
                              [this](const auto &row) { recheck(row); });
    }
    const bool is_due =
        !to_check_.empty() || !alone_.empty() || (!to_write_.empty() && !is_held_back());
    if (may_begin(may_write) && is_due) {
        begin_transaction();
    }
}

bool StatusWriter::may_begin(bool may_write) const {
    return may_write && in_flight_.empty() && wait_beyond_ != ovda_db_seqno(db_);
}

void StatusWriter::wait(bool may_write) const {
    auto due = may_write ? retry_at_ : std::nullopt;
    if (may_begin(may_write) && !to_write_.empty()) {
        due = std::min(due.value_or(not_before_), not_before_);
    }
    if (due) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now());
        ovda_loop_wait_ms(std::max<long long>(left.count(), 0));
    }
}

void StatusWriter::finish_transaction() {
    char *error_text = nullptr;
    const ovda_commit result = ovda_txn_poll(db_, &error_text);
    const std::unique_ptr<char, decltype(&std::free)> error(error_text, &std::free);
    if (result == OVDA_COMMIT_PENDING) {
        return;
    }
    const std::vector<std::string> rows = std::exchange(in_flight_, {});
    switch (result) {
        case OVDA_COMMIT_PENDING:
        case OVDA_COMMIT_NONE:
            break;
        case OVDA_COMMIT_TRY_AGAIN:
        case OVDA_COMMIT_NOT_LOCKED:
            wait_beyond_ = begun_at_;
            std::for_each(rows.begin(), rows.end(), [this](const auto &row) { recheck(row); });
            break;
        case OVDA_COMMIT_DONE:
            /* The replica holds what was written by now. Compared once more, because "insert" does
             * not replace the value of a key that another client inserted at the same time. */
            std::for_each(rows.begin(), rows.end(), [this](const auto &row) { recheck(row); });
            if (refused_.empty()) {
                retry_after_ = {};
            }
            break;
        case OVDA_COMMIT_ERROR:
            static log::RateLimit limit;
            if (rows.size() > 1) {
                log_module.warn(limit,
                                "status of " + std::to_string(rows.size()) +
                                    " rows refused, writing them one by one: " + error.get());
                alone_.insert(rows.begin(), rows.end());
            } else {
                retry_later(rows[0]);
                log_module.warn(limit, "status of " +
                                           (rows[0].empty() ? "Open_vSwitch row" : rows[0]) +
                                           " refused: " + error.get());
            }
            break;
    }
}

void StatusWriter::retry_later(const std::string &row) {
    refused_.insert(row);
    if (!retry_at_) {
        retry_after_ = std::clamp(2 * retry_after_, first_retry, last_retry);
        retry_at_ = Clock::now() + retry_after_;
    }
}

void StatusWriter::begin_transaction() {
    wait_beyond_.reset();
    begun_at_ = ovda_db_seqno(db_);
    transaction_open_ = false;
    std::set<std::string> due = std::exchange(to_check_, {});
    if (!is_held_back()) {
        due.merge(std::exchange(to_write_, {}));
    }
    for (const std::string &interface : due) {
        if (!alone_.contains(interface) && write_row(interface)) {
            in_flight_.push_back(interface);
        }
    }
    while (in_flight_.empty() && !alone_.empty()) {
        const std::string interface = std::move(alone_.extract(alone_.begin()).value());
        if (write_row(interface)) {
            in_flight_.push_back(interface);
        }
    }
    if (transaction_open_) {
        ovda_txn_commit(db_);
        transaction_open_ = false;
        not_before_ = Clock::now() + pause;
    }
}

/* Whether there was anything to write. */
bool StatusWriter::write_row(const std::string &interface) {
    const auto found = wanted_.find(interface);
    const ovda_row *row = interface.empty() ? ovda_db_first(db_, OVDA_GLOBAL, false)
                                            : ovda_db_find_interface(db_, interface.c_str());
    bool written = false;
    if (found == wanted_.end()) {
        /* Left behind by an agent that has gone: not while a vDPA port waits for our verdict. */
        if (row && !interface.empty() && !is_vdpa_port(ovda_interface_read(row))) {
            Keys absent;
            for (const char *key : schema::interface_status_keys) {
                absent[key] = std::nullopt;
            }
            written = write_keys(row, ovda_interface_read(row).external_ids, absent);
        }
        return written;
    }
    if (row) {
        written = write_keys(row,
                             interface.empty() ? ovda_global_external_ids(row)
                                               : ovda_interface_read(row).external_ids,
                             found->second);
    }
    const bool all_absent = std::all_of(found->second.begin(), found->second.end(),
                                        [](const auto &entry) { return !entry.second; });
    if (!written && all_absent) {
        wanted_.erase(found);
    }
    return written;
}

bool StatusWriter::write_keys(const ovda_row *row, const ovda_map *external_ids, const Keys &keys) {
    bool written = false;
    for (const auto &[key, value] : keys) {
        const char *present = ovda_map_get(external_ids, key.c_str());
        if (value ? present && *value == present : !present) {
            continue;
        }
        if (!transaction_open_) {
            ovda_txn_begin(db_);
            transaction_open_ = true;
        }
        ovda_txn_set_external_id(row, key.c_str(), value ? value->c_str() : nullptr);
        written = true;
    }
    return written;
}

}  // namespace vdpa::agent::ovs
