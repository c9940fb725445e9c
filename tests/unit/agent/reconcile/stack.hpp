// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "tests/unit/agent/reconcile/fake_engine.hpp"
#include "tests/unit/agent/reconcile/fake_host.hpp"
#include "tests/unit/agent/reconcile/fake_netdevs.hpp"

namespace vdpa::agent::reconcile {

/* A name service that answers later, or never. */
class FakeAccounts : public config::Accounts {
  public:
    using Name = config::AccountName;

    explicit FakeAccounts(boost::asio::io_context &io) : io_(io) {}

    /* A new agent knows nothing yet. */
    void attach(std::function<void(const Name &)> changed);
    config::Account find(const Name &name) const override;
    void look_up(const Name &name) override;
    void forget(const Name &name) override { answers_.erase(name); }
    /* It is asked for all that it has not answered. */
    void wake_up();

    std::map<std::string, id_t> numbers{{"qemu", 64}, {"kvm", 104}};
    bool is_asleep = false;
    size_t lookups = 0;

  private:
    void answer(const Name &name);

    boost::asio::io_context &io_;
    std::function<void(const Name &)> changed_;
    std::map<Name, config::Account> answers_;
    std::set<Name> unanswered_;
};

/* A reconciler with everything around it in memory: a database, engines and a host that outlive it.
 * Things happen when settle() or until() is called. */
class Stack : public testing::Test {
  protected:
    static constexpr BackoffLimits no_retries{std::chrono::hours(1), std::chrono::hours(1)};
    static constexpr BackoffLimits quick_retries{std::chrono::milliseconds(1),
                                                 std::chrono::milliseconds(2)};

    Stack();
    ~Stack() override;

    /* An agent begins; the one before, if any, has died. */
    void start_agent();
    /* The lock is ours, and the database is read. */
    void open_database();
    void obtain_lock();
    void lose_lock();
    /* All of it: start_agent(), open_database(), engines connected, settled. */
    void start();

    /* Rows as an operator writes them, kept until they are removed. Told to the agent at once. */
    void set(const std::string &name, schema::StringMap options,
             schema::StringMap external_ids = {});
    void set_socket(const std::string &name, const std::string &path);
    /* A new port, up to the point where its netdev is there and the engine has been told to open
     * it, whose outcomes are held. */
    void begin_to_serve(const std::string &name, const std::string &path);
    /* What ovs-vswitchd writes. */
    void set_mtu(const std::string &name, int64_t mtu);
    /* On the VF of that number of FakeHost::add_pf(), by its PCI address. */
    void set_vf(const std::string &name, uint32_t vf);
    void remove(const std::string &name);
    /* Several changes in one transaction. */
    void in_one_transaction(const std::function<void()> &changes);
    void set_other_config(schema::StringMap other_config);

    /* Runs until nothing is left to be done at once. */
    void settle();
    /* Does that many things that are due, or fewer if there are not as many. */
    void take_steps(int steps);
    /* Runs until it is so, for no longer than a few seconds. */
    testing::AssertionResult until(const std::function<bool()> &condition);

    /* A status key of a row as the database has it; empty: absent. */
    std::string status(const std::string &name, const std::string &key) const;
    std::string state(const std::string &name) const { return status(name, "vdpa-state"); }
    std::string reason(const std::string &name) const { return status(name, "vdpa-reason"); }
    std::string detail(const std::string &name) const { return status(name, "vdpa-detail"); }
    std::string served(const std::string &name) const { return status(name, "vdpa-served-socket"); }
    std::string function(const std::string &name) const { return status(name, "vdpa-function"); }
    std::string host_status(const std::string &key) const { return status("", key); }

    boost::asio::io_context io;  // of the world; an agent has its own, which ends with it
    BackoffLimits backoff = no_retries;
    std::chrono::milliseconds first_report_delay{0};
    std::chrono::milliseconds mtu_patience{0};
    std::chrono::milliseconds account_patience = std::chrono::hours(1);
    std::chrono::milliseconds socket_patience = std::chrono::hours(1);
    FakeNetdevs netdevs{io};
    FakeHost host{io};
    FakeAccounts accounts{io};
    std::unique_ptr<report::Board> board;
    std::unique_ptr<boost::asio::io_context> agent_io;
    std::vector<std::unique_ptr<FakeEngine>> engines;
    FakeEngine &engine;  // the first
    std::unique_ptr<Reconciler> agent;
    std::set<std::string> other_rows;  // Interfaces that are no vDPA ports
    size_t refreshed = 0;              // times the inventory was to be read anew
    size_t first_passes = 0;
    size_t writes = 0;  // updates of rows' status

    FakeEngine &add_engine(const std::string &path);
    schema::StringMap sw(const std::string &path) const {
        return {{"vdpa-socket", path}, {"vdpa-sw", "true"}};
    }

    /* A row on a device, by that value of vdpa-accelerator-devargs; empty: none. */
    static schema::StringMap on(const std::string &path, const std::string &device = "",
                                const std::string &representor = "") {
        schema::StringMap options{{"vdpa-socket", path}};
        if (!device.empty()) {
            options["vdpa-accelerator-devargs"] = device;
        }
        if (!representor.empty()) {
            options["vdpa-representor"] = representor;
        }
        return options;
    }

    static schema::PortSpec spec_of(const std::string &name, const std::string &path) {
        schema::PortSpec spec;
        spec.name = name;
        spec.socket.path = path;
        spec.device.name = name;
        spec.max_queues = 1;
        return spec;
    }

  private:
    bool step();
    void refresh(std::function<void()> done);
    void take_updates(const std::vector<ovs::StatusUpdate> &updates);
    void commit(ovs::Changes changes);
    ovs::InterfaceRow as_read(const std::string &name) const;

    std::map<std::string, ovs::InterfaceRow> rows_;
    std::map<std::string, std::map<std::string, std::string>> statuses_;
    schema::StringMap other_config_;
    std::optional<ovs::Changes> transaction_;
    bool database_open_ = false;
};

}  // namespace vdpa::agent::reconcile
