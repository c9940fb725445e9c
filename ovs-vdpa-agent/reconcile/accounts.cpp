// SPDX-License-Identifier: Apache-2.0
// The users and groups that rows name as owners of sockets.
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

void Reconciler::note_accounts(const std::string &port, const std::set<config::AccountName> &before,
                               const std::set<config::AccountName> &now) {
    for (const config::AccountName &account : now) {
        named_by_[account].insert(port);
    }
    for (const config::AccountName &account : before) {
        if (now.contains(account)) {
            continue;
        }
        const auto names = named_by_.find(account);
        names->second.erase(port);
        if (names->second.empty()) {
            named_by_.erase(names);
            env_.accounts.forget(account);
        }
    }
}

/* Not whenever the row is read: an answer has it read again. */
void Reconciler::look_up_accounts(const Port &port) {
    for (const config::AccountName &account : port.parsed->accounts) {
        env_.accounts.look_up(account);
    }
}

void Reconciler::account_changed(const config::AccountName &account) {
    const auto names = named_by_.find(account);
    if (names == named_by_.end()) {
        return;
    }
    for (const std::string &name : Claims::Names(names->second)) {
        read_row(*ports_.at(name));
    }
}

/* An account may be made at any time, and a name service may recover, and nothing tells of it. */
void Reconciler::look_up_again(Port &port) {
    const auto &config = port.parsed->config;
    const bool is_missing = !config && config.error().reason == schema::Reason::bad_socket_owner;
    if (!is_missing && !port.parsed->unresolved) {
        port.owner_due.reset();
        return;
    }
    const auto next = std::chrono::steady_clock::now() + env_.account_patience;
    port.owner_due = port.owner_due.value_or(next);
    if (port.retrying) {
        look_up_accounts(port);
    }
    if (!port.retry_armed || port.retry.expiry() > next) {
        retry_after(port, env_.account_patience);
    }
}

bool Reconciler::is_owner_overdue(const Port &port) const {
    return port.owner_due && *port.owner_due <= std::chrono::steady_clock::now();
}

}  // namespace vdpa::agent::reconcile
