// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/unit/agent/ovs/database_fixture.hpp"

namespace vdpa::test {
namespace {

class Connection : public DatabaseTest {
  protected:
    void create_agent() {
        agent_ = std::make_unique<Agent>(server_->remote(), folder_ / "agent.ctl");
        agent_->start();
    }

    bool wait_for_state(const std::function<bool(const ConnectionState &)> &condition) {
        return agent_->wait([&](const Agent::View &view) {
            return !view.connections.empty() && condition(view.connections.back());
        });
    }
};

TEST_F(Connection, says_which_database_it_is_to) {
    start_server();
    start_agent();

    const ConnectionState state = agent_->view().connections.back();
    EXPECT_TRUE(state.connected);
    EXPECT_FALSE(state.lock_contended);
    EXPECT_EQ(state.remote, server_->remote());
    EXPECT_EQ(agent_->appctl({"connection-status"}).output, "connected\n");
}

TEST_F(Connection, is_made_when_the_server_comes_later) {
    start_server();
    server_->stop(SIGTERM);
    create_agent();
    EXPECT_EQ(agent_->appctl({"connection-status"}).output, "not connected\n");
    EXPECT_TRUE(agent_->view().history.empty());

    server_->start();

    EXPECT_TRUE(wait_for_state([](const ConnectionState &state) { return state.lock_held; }));
}

TEST_F(Connection, with_a_contended_lock_reads_but_writes_nothing_until_it_is_free) {
    start_server();
    vsctl({"add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
           "options:vdpa-socket=/tmp/vm1.sock"});
    Process other({"ovsdb-client", "lock", server_->remote(), "ovs_vdpa_agent"});
    ASSERT_TRUE(other.wait_for_output("true"));

    create_agent();
    ASSERT_TRUE(wait_for_state([](const ConnectionState &state) { return state.lock_contended; }));
    EXPECT_FALSE(agent_->view().connections.back().lock_held);
    ASSERT_TRUE(agent_->wait_for_row("vm1", [](const InterfaceRow &) { return true; }));
    EXPECT_NE(agent_->appctl({"connection-status"}).output.find("ovs_vdpa_agent"),
              std::string::npos);
    agent_->thread().set_status({{"vm1", {{"vdpa-state", "running"}}}});
    /* Two changes that the agent has seen since, with a chance to write after the first. */
    for (const char *queues : {"2", "3"}) {
        vsctl({"set", "Interface", "vm1", std::string("options:vdpa-max-queues=") + queues});
        ASSERT_TRUE(agent_->wait_for_row("vm1", [&](const InterfaceRow &row) {
            const auto found = row.options.find("vdpa-max-queues");
            return found != row.options.end() && found->second == queues;
        }));
    }
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "");

    other.signal(SIGKILL);

    EXPECT_TRUE(wait_for_state([](const ConnectionState &state) { return state.lock_held; }));
    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
    EXPECT_EQ(agent_->appctl({"connection-status"}).output, "connected\n");
}

TEST_F(Connection, lost_and_found_again_is_reported) {
    start_server();
    start_agent();

    server_->stop(SIGKILL);
    EXPECT_TRUE(wait_for_state(
        [](const ConnectionState &state) { return !state.connected && !state.lock_held; }));
    server_->start();

    EXPECT_TRUE(wait_for_state(
        [](const ConnectionState &state) { return state.connected && state.lock_held; }));
}

}  // namespace
}  // namespace vdpa::test
