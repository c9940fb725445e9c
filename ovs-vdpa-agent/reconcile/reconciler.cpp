// SPDX-License-Identifier: Apache-2.0
// What is heard from the database, and the passes.
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/inventory_change.hpp"

namespace vdpa::agent::reconcile {

namespace {

const log::Module module("reconcile");
log::RateLimit limit(60, 20);

/* Texts of what is wrong with Open_vSwitch other_config. */
std::vector<std::string> problems_of(const config::HostConfig &host) {
    std::vector<std::string> problems;
    for (const Error &error : host.errors) {
        problems.push_back(std::string(to_string(error.reason)) +
                           ": Open_vSwitch other_config:" + error.detail);
    }
    for (const std::string &key : host.unknown_keys) {
        problems.push_back("unknown-key: Open_vSwitch other_config:" + key.substr(0, 64) +
                           " means nothing and is ignored: check its spelling");
    }
    return problems;
}

}  // namespace

Reconciler::Reconciler(Environment environment)
    : env_(std::move(environment)),
      pfs_({env_.io, env_.pfs, env_.refresh,
            [this] {
                pfs_awake_ = true;
                wake_host();
            },
            [this](const host::Handle &pf) {
                wake_watchers(pf_key(pf));
                wake_watchers(bus_key(pf));
            },
            env_.backoff}),
      owned_retry_(env_.io),
      look_again_(env_.io),
      deferred_timer_(env_.io) {}

Port &Reconciler::port(const std::string &name) {
    auto &slot = ports_[name];
    if (!slot) {
        slot = std::make_unique<Port>(env_.io, name, env_.backoff);
    }
    return *slot;
}

void Reconciler::database_changed(ovs::Changes changes) {
    has_global_ = changes.has_global;
    is_empty_ = !changes.has_global;
    if (changes.global) {
        take_global(*changes.global);
    }
    if (!changes.has_global) {
        // A database without this row has been emptied or not yet filled: nobody asked us to
        // remove anything.
        wake_host();
        return;
    }
    std::set<std::string> present;
    for (auto &row : changes.interfaces) {
        present.insert(row.name);
        take_row(std::move(row));
    }
    std::vector<std::string> gone = std::move(changes.gone);
    if (changes.complete) {
        has_snapshot_ = true;
        for (const auto &[name, known] : ports_) {
            if (known->row && !present.contains(name)) {
                gone.push_back(name);
            }
            wake(name);
        }
    }
    for (const std::string &name : gone) {
        if (const auto found = ports_.find(name); found != ports_.end()) {
            lose_row(*found->second);
        }
    }
    wake_host();
}

void Reconciler::lose_row(Port &lost) {
    if (lost.parsed) {
        note_accounts(lost.name, lost.parsed->accounts, {});
    }
    lost.row.reset();
    lost.parsed.reset();
    lost.try_afresh();
    wake(lost.name);
}

void Reconciler::take_row(ovs::InterfaceRow row) {
    Port &changed = port(row.name);
    changed.row = std::move(row);
    if (read_row(changed)) {
        look_up_accounts(changed);
    }
}

bool Reconciler::read_row(Port &read) {
    auto parsed = config::parse_row(*read.row, host_, env_.accounts);
    // ovs-vswitchd writes to the row too, which is no reason to hurry.
    const bool differs = !read.parsed || read.parsed->config != parsed.config ||
                         read.parsed->unresolved != parsed.unresolved;
    if (differs) {
        read.owner_due.reset();
        read.try_afresh();
    }
    note_accounts(read.name, read.parsed ? read.parsed->accounts : decltype(parsed.accounts)(),
                  parsed.accounts);
    read.parsed = std::move(parsed);
    wake(read.name);
    return differs;
}

void Reconciler::take_global(const ovs::GlobalRow &row) {
    const std::vector<std::string> before = problems_of(host_);
    host_ = config::parse_host_config(row);
    for (const std::string &problem : problems_of(host_)) {
        if (std::ranges::find(before, problem) == before.end()) {
            module.warn(limit, problem);
        }
    }
    pfs_.set_specs(host_.pfs);
    for (Engine &engine : engines_) {
        engine.service->set_start_params(host_.engine);
    }
    // Defaults may have changed for every port.
    for (const auto &[name, known] : ports_) {
        if (known->row && read_row(*known)) {
            look_up_accounts(*known);
        }
    }
    wake_host();
}

void Reconciler::connection_changed(const ovs::ConnectionState &state) {
    if (state.lock_contended && !connection_.lock_contended) {
        module.warn("another ovs-vdpa-agent holds the lock of " + state.remote +
                    ": doing nothing until it ends");
    }
    if (state.lock_held && !connection_.lock_held) {
        // Whoever held it before may have made and removed things, and has written that down.
        read_owned();
    }
    connection_ = state;
    lock_was_held_ = !state.lock_contended && (lock_was_held_ || state.lock_held);
    wake_all();
    wake_host();
}

void Reconciler::wake_all() {
    for (const auto &[name, known] : ports_) {
        wake(name);
    }
}

void Reconciler::wake(const std::string &name) {
    awake_.insert(name);
    if (!pass_posted_) {
        pass_posted_ = true;
        boost::asio::post(env_.io, [this] { run(); });
    }
}

void Reconciler::wake_host() {
    host_awake_ = true;
    if (!pass_posted_) {
        pass_posted_ = true;
        boost::asio::post(env_.io, [this] { run(); });
    }
}

/* Nothing is done before it is known what is wanted and what is ours, nor beside another agent.
 * While the database is away, what was wanted last is kept up. */
bool Reconciler::may_act() const {
    return may_report() && unread_ == 0;
}

bool Reconciler::may_report() const {
    return has_snapshot_ && has_global_ && lock_was_held_;
}

/* One pass over the ports that something was heard about. */
void Reconciler::act() {
    remove_strays();
    const std::set<std::string> names = std::exchange(awake_, {});
    const auto for_each = [this, &names](const std::function<void(Port &)> &what) {
        for (const std::string &name : names) {
            if (const auto found = ports_.find(name); found != ports_.end()) {
                what(*found->second);
            }
        }
    };
    // Every claim is known before any is judged: rows may have traded what they have.
    for_each([this](Port &port) { examine(port); });
    remove_left_sockets();
    // What is given back first may be what another port waits for.
    for (const bool releases : {true, false}) {
        for_each([this, releases](Port &port) {
            if (port.row.has_value() != releases) {
                advance(port);
            }
        });
    }
    if (inventory_ && std::exchange(pfs_awake_, false)) {
        // Once for all PFs, and only if it is asked for.
        std::optional<std::map<host::Handle, std::vector<std::string>>> users;
        pfs_.advance(*inventory_, [this, &users](const host::Handle &pf) {
            users = users ? std::move(users) : users_of_pfs();
            return (*users)[pf];
        });
    }
}

void Reconciler::run() {
    take_inventory();
    pass_posted_ = false;
    if (may_act()) {
        act();
    } else if (may_report() && owned_error_) {
        for (const std::string &name : awake_) {
            if (const auto found = ports_.find(name); found != ports_.end() && found->second->row) {
                report(*found->second, unmet(Condition::netdev, *owned_error_), {});
            }
        }
    }
    if (std::exchange(host_awake_, false)) {
        publish_host();
    }
    if (!updates_.empty()) {
        env_.set_status(std::exchange(updates_, {}));
    }
    const bool is_held_back =
        connection_.lock_contended || (lock_was_held_ && (is_empty_ || owned_error_));
    if ((may_act() || is_held_back) && !first_pass_done_) {
        first_pass_done_ = true;
        if (env_.on_first_pass) {
            env_.on_first_pass();
        }
    }
}

}  // namespace vdpa::agent::reconcile
