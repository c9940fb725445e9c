// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

#include <boost/asio/post.hpp>

namespace vdpa::agent::reconcile {

namespace {

/* More than any test has to do: what goes on beyond that goes on for ever. */
constexpr size_t most_steps = 20'000;
constexpr std::chrono::seconds longest_wait{10};

}  // namespace

void FakeAccounts::attach(std::function<void(const Name &)> changed) {
    changed_ = std::move(changed);
    answers_.clear();
    unanswered_.clear();
}

config::Account FakeAccounts::find(const Name &name) const {
    const auto number = config::numeric_account(name.name);
    const auto found = answers_.find(name);
    return found == answers_.end() ? number : found->second;
}

void FakeAccounts::look_up(const Name &name) {
    if (config::numeric_account(name.name) != config::Account()) {
        return;
    }
    lookups++;
    answers_.try_emplace(name);
    if (is_asleep) {
        unanswered_.insert(name);
        return;
    }
    boost::asio::post(io_, [this, name] { answer(name); });
}

void FakeAccounts::wake_up() {
    is_asleep = false;
    for (const Name &name : std::exchange(unanswered_, {})) {
        look_up(name);
    }
}

void FakeAccounts::answer(const Name &name) {
    const auto found = answers_.find(name);
    if (found == answers_.end()) {
        return;  // of an agent before, or forgotten
    }
    const auto number = numbers.find(name.name);
    const config::Account now =
        number == numbers.end() ? config::Account{config::Account::State::missing, 0}
                                : config::Account{config::Account::State::found, number->second};
    if (std::exchange(found->second, now) != now) {
        changed_(name);
    }
}

Stack::Stack() : engine(add_engine("/run/engine.sock")) {
    host.has_row = [this](const std::string &name) { return rows_.contains(name); };
    host.has_open = [this](const std::string &path) {
        return std::any_of(engines.begin(), engines.end(),
                           [&path](const auto &each) { return each->has_open(path); });
    };
}

Stack::~Stack() {
    for (const auto &each : engines) {
        EXPECT_THAT(each->faults, testing::IsEmpty());
        each->detach();
    }
    EXPECT_THAT(host.faults, testing::IsEmpty());
    agent.reset();  // before what it stands on
}

FakeEngine &Stack::add_engine(const std::string &path) {
    engines.push_back(std::make_unique<FakeEngine>(io, path));
    return *engines.back();
}

void Stack::start_agent() {
    for (const auto &each : engines) {
        each->detach();
    }
    agent.reset();
    agent_io = std::make_unique<boost::asio::io_context>();
    board = std::make_unique<report::Board>();
    database_open_ = false;
    agent = std::make_unique<Reconciler>(Reconciler::Environment{
        *agent_io, netdevs, host, host, host, accounts, *board,
        [this](const std::vector<ovs::StatusUpdate> &updates) { take_updates(updates); },
        [this](const std::string &name, std::function<void(bool)> done) {
            const bool exists = rows_.contains(name) || other_rows.contains(name);
            boost::asio::post(*agent_io, [done = std::move(done), exists] { done(exists); });
        },
        [this](const std::string &name) { return netdevs.devices.contains(name); },
        [this](const host::Handle &, std::function<void()> done) { refresh(std::move(done)); },
        [this](std::function<void()> done) { refresh(std::move(done)); },
        [this] { first_passes++; }, backoff, first_report_delay, mtu_patience, account_patience,
        socket_patience});
    accounts.attach([this](const auto &account) { agent->account_changed(account); });
    std::vector<engine::EngineService *> services;
    for (size_t i = 0; i < engines.size(); i++) {
        engines[i]->attach(*agent, i);
        services.push_back(engines[i].get());
    }
    agent->set_engines(services);
    netdevs.attach([this](const std::string &name, std::optional<int> ifindex) {
        agent->netdev_changed(name, ifindex);
    });
    for (const auto &[name, device] : netdevs.devices) {
        netdevs.tell(name);
    }
    host.attach([this](std::shared_ptr<const host::Inventory> inventory) {
        agent->inventory_changed(std::move(inventory));
    });
}

void Stack::refresh(std::function<void()> done) {
    refreshed++;
    host.publish();
    boost::asio::post(io, [done = std::move(done), io = agent_io.get(), this] {
        if (io == agent_io.get()) {
            boost::asio::post(*io, done);
        }
    });
}

void Stack::obtain_lock() {
    agent->connection_changed({true, true, false, "unix:db.sock"});
}

void Stack::lose_lock() {
    agent->connection_changed({true, false, true, "unix:db.sock"});
}

void Stack::open_database() {
    obtain_lock();
    database_open_ = true;
    ovs::Changes changes;
    changes.complete = true;
    changes.has_global = true;
    changes.global = ovs::GlobalRow{other_config_, false};
    for (const auto &[name, row] : rows_) {
        changes.interfaces.push_back(as_read(name));
    }
    agent->database_changed(std::move(changes));
}

void Stack::start() {
    start_agent();
    open_database();
    for (const auto &each : engines) {
        each->connect();
    }
    settle();
}

ovs::InterfaceRow Stack::as_read(const std::string &name) const {
    ovs::InterfaceRow row = rows_.at(name);
    if (const auto found = statuses_.find(name); found != statuses_.end()) {
        row.external_ids.insert(found->second.begin(), found->second.end());
    }
    return row;
}

void Stack::set(const std::string &name, schema::StringMap options,
                schema::StringMap external_ids) {
    ovs::InterfaceRow &row = rows_[name];
    row.name = name;
    row.bridge = "br0";
    row.options = std::move(options);
    row.external_ids = std::move(external_ids);
    ovs::Changes changes;
    changes.interfaces.push_back(as_read(name));
    commit(std::move(changes));
}

void Stack::set_socket(const std::string &name, const std::string &path) {
    set(name, sw(path));
}

void Stack::begin_to_serve(const std::string &name, const std::string &path) {
    netdevs.hold();
    set_socket(name, path);
    settle();
    engine.hold_outcomes();
    netdevs.let_go();
    settle();
}

void Stack::set_mtu(const std::string &name, int64_t mtu) {
    rows_.at(name).mtu = mtu;
    ovs::Changes changes;
    changes.interfaces.push_back(as_read(name));
    commit(std::move(changes));
}

void Stack::set_vf(const std::string &name, uint32_t vf) {
    set(name, on("/run/" + name + ".sock", "0000:43:00." + std::to_string(vf + 2)));
}

void Stack::remove(const std::string &name) {
    rows_.erase(name);
    statuses_.erase(name);
    ovs::Changes changes;
    changes.gone.push_back(name);
    commit(std::move(changes));
}

void Stack::set_other_config(schema::StringMap other_config) {
    other_config_ = std::move(other_config);
    ovs::Changes changes;
    changes.global = ovs::GlobalRow{other_config_, false};
    commit(std::move(changes));
}

void Stack::in_one_transaction(const std::function<void()> &changes) {
    transaction_.emplace();
    changes();
    auto all = std::exchange(transaction_, std::nullopt);
    commit(std::move(*all));
}

void Stack::commit(ovs::Changes changes) {
    if (transaction_) {
        auto &all = *transaction_;
        all.interfaces.insert(all.interfaces.end(), changes.interfaces.begin(),
                              changes.interfaces.end());
        all.gone.insert(all.gone.end(), changes.gone.begin(), changes.gone.end());
        all.global = changes.global ? changes.global : all.global;
    } else if (database_open_) {
        changes.has_global = true;
        agent->database_changed(std::move(changes));
    }
    boost::asio::post(io, [this] { host.switch_looks(); });
}

void Stack::take_updates(const std::vector<ovs::StatusUpdate> &updates) {
    for (const auto &update : updates) {
        writes += update.interface.empty() ? 0 : 1;
        if (!update.interface.empty() && !rows_.contains(update.interface)) {
            continue;
        }
        for (const auto &[key, value] : update.keys) {
            if (value) {
                statuses_[update.interface][key] = *value;
            } else {
                statuses_[update.interface].erase(key);
            }
        }
    }
}

void Stack::settle() {
    for (size_t i = 0; i < most_steps; i++) {
        if (!step()) {
            return;
        }
    }
    ADD_FAILURE() << "does not come to rest";
}

void Stack::take_steps(int steps) {
    for (int i = 0; i < steps && step(); i++) {
    }
}

/* Does one thing that is due, and says whether there was any. */
bool Stack::step() {
    io.restart();
    if (io.poll_one() != 0) {
        return true;
    }
    agent_io->restart();
    return agent_io->poll_one() != 0;
}

testing::AssertionResult Stack::until(const std::function<bool()> &condition) {
    const auto end = std::chrono::steady_clock::now() + longest_wait;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return testing::AssertionFailure() << "has not come about";
        }
        if (!step()) {
            agent_io->restart();
            agent_io->run_one_for(std::chrono::milliseconds(100));  // its timers
        }
    }
    return testing::AssertionSuccess();
}

std::string Stack::status(const std::string &name, const std::string &key) const {
    const auto row = statuses_.find(name);
    if (row == statuses_.end()) {
        return "";
    }
    const auto found = row->second.find(key);
    return found == row->second.end() ? "" : found->second;
}

}  // namespace vdpa::agent::reconcile
