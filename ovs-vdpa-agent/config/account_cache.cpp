// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/account_cache.hpp"

namespace vdpa::agent::config {

namespace {

/* Whoever writes the database chooses how many names there are, and a name service that stands
 * still keeps a thread for each. */
constexpr size_t most_threads = 64;

}  // namespace

AccountCache::AccountCache(boost::asio::io_context &io, Changed changed, Ask ask)
    : changed_(std::move(changed)), ask_(std::move(ask)), reads_(io, most_threads) {}

Account AccountCache::find(const AccountName &name) const {
    const Account number = numeric_account(name.name);
    if (number.state != Account::State::unknown) {
        return number;
    }
    const auto found = answers_.find(name);
    return found == answers_.end() ? Account{} : found->second;
}

void AccountCache::look_up(const AccountName &name) {
    if (numeric_account(name.name).state != Account::State::unknown) {
        return;
    }
    answers_.try_emplace(name);
    reads_.run(name.text(), [this, name, ask = ask_]() -> host::BackgroundReads::Answer {
        return [this, name, answer = ask(name)] { take(name, answer); };
    });
}

void AccountCache::take(const AccountName &name, const std::optional<Account> &answer) {
    const auto found = answers_.find(name);
    if (found == answers_.end() || !answer || found->second == *answer) {
        return;
    }
    found->second = *answer;
    changed_(name);
}

void AccountCache::forget(const AccountName &name) {
    answers_.erase(name);
    reads_.drop(name.text());
}

void AccountCache::refresh() {
    for (const auto &[name, answer] : answers_) {
        look_up(name);
    }
}

}  // namespace vdpa::agent::config
