// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "tests/unit/agent/ovs/database_fixture.hpp"

namespace vdpa::test {
namespace {

class Status : public DatabaseTest {
  protected:
    void set(const std::string &interface, std::map<std::string, std::optional<std::string>> keys) {
        agent_->thread().set_status({{interface, std::move(keys)}});
    }
};

TEST_F(Status, is_written_key_by_key_beside_foreign_keys) {
    start_server();
    start_agent();
    add_port("vm1");
    vsctl({"set", "Interface", "vm1", "external_ids:iface-id=42"});

    set("vm1", {{"vdpa-state", "listening"}, {"vdpa-mode", "sw"}, {"vdpa-reason", std::nullopt}});

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "listening"));
    EXPECT_EQ(status_key("vm1", "vdpa-mode"), "sw");
    EXPECT_EQ(status_key("vm1", "vdpa-reason"), "");
    EXPECT_EQ(status_key("vm1", "iface-id"), "\"42\"");
}

TEST_F(Status, replaces_and_removes_single_keys) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "failed"}, {"vdpa-reason", "tap-failed"}, {"vdpa-mode", "sw"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-reason", "tap-failed"));

    set("vm1", {{"vdpa-state", "running"}, {"vdpa-reason", std::nullopt}});

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-reason", ""));
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "running");
    EXPECT_EQ(status_key("vm1", "vdpa-mode"), "sw");
}

TEST_F(Status, of_the_host_goes_into_the_open_vswitch_row) {
    start_server();
    start_agent();

    set("", {{"vdpa-agent-state", "running"}});

    const Result result =
        run({"ovs-vsctl", "--db=" + server_->remote(), "--timeout=20", "wait-until", "Open_vSwitch",
             ".", "external_ids:vdpa-agent-state=running"});
    EXPECT_EQ(result.exit_status, 0) << result.output;
}

TEST_F(Status, is_written_again_when_somebody_removes_or_changes_it) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "running"}, {"vdpa-mode", "sw"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));

    vsctl({"clear", "Interface", "vm1", "external_ids"});
    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
    vsctl({"set", "Interface", "vm1", "external_ids:vdpa-mode=hw"});
    EXPECT_TRUE(wait_for_status("vm1", "vdpa-mode", "sw"));
}

TEST_F(Status, is_written_to_the_new_row_of_a_port_deleted_and_added) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "running"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));

    vsctl({"del-port", "vm1", "--", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
           "options:vdpa-socket=/tmp/vm1.sock"});

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
}

TEST_F(Status, with_every_key_absent_is_removed_and_forgotten) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "running"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));

    set("vm1", {{"vdpa-state", std::nullopt}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", ""));

    /* Forgotten: a key that somebody else writes now stays. */
    vsctl({"set", "Interface", "vm1", "external_ids:vdpa-state=mine"});
    set("vm1", {{"vdpa-mode", "sw"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-mode", "sw"));
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "mine");
}

TEST_F(Status, left_behind_on_a_row_that_is_no_vdpa_port_is_removed) {
    start_server();
    vsctl({"add-port", "br0", "eth7", "--", "set", "Interface", "eth7",
           "external_ids:vdpa-state=running", "external_ids:vdpa-served-socket=/x",
           "external_ids:iface-id=eth7"});

    start_agent();

    EXPECT_TRUE(wait_for_status("eth7", "vdpa-state", ""));
    EXPECT_EQ(status_key("eth7", "vdpa-served-socket"), "");
    EXPECT_EQ(status_key("eth7", "iface-id"), "eth7");
}

TEST_F(Status, of_a_row_that_ceases_to_be_a_vdpa_port_stays_until_it_is_wanted_away) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "running"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));

    vsctl({"remove", "Interface", "vm1", "options", "vdpa-socket"});
    ASSERT_TRUE(agent_->wait([](const Agent::View &view) { return view.rows.empty(); }));
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "running");

    set("vm1", {{"vdpa-state", std::nullopt}});
    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", ""));
}

TEST_F(Status, of_an_earlier_agent_on_a_vdpa_port_is_handed_over_and_kept) {
    start_server();
    vsctl({"add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
           "options:vdpa-socket=/tmp/vm1.sock", "external_ids:vdpa-served-socket=/tmp/vm1.sock"});
    start_agent();
    EXPECT_EQ(agent_->view().rows.at("vm1").external_ids.at("vdpa-served-socket"), "/tmp/vm1.sock");

    add_port("vm2");
    set("vm2", {{"vdpa-state", "running"}});
    ASSERT_TRUE(wait_for_status("vm2", "vdpa-state", "running"));
    EXPECT_EQ(status_key("vm1", "vdpa-served-socket"), "\"/tmp/vm1.sock\"");
}

TEST_F(Status, of_many_ports_is_written) {
    start_server();
    constexpr int ports = 200;
    std::vector<std::string> command;
    for (int i = 0; i < ports; i++) {
        const std::string name = "vm" + std::to_string(i);
        command.insert(command.end(), {"--", "add-port", "br0", name, "--", "set", "Interface",
                                       name, "options:vdpa-socket=/tmp/" + name + ".sock"});
    }
    command.erase(command.begin());
    vsctl(command);
    start_agent();

    for (int i = 0; i < ports; i++) {
        set("vm" + std::to_string(i), {{"vdpa-state", "running"}, {"vdpa-mode", "sw"}});
    }

    for (int i = 0; i < ports; i++) {
        EXPECT_TRUE(wait_for_status("vm" + std::to_string(i), "vdpa-state", "running"));
    }
}

TEST_F(Status, that_changes_quickly_takes_few_transactions) {
    start_server();
    start_agent();
    const auto begin = std::chrono::steady_clock::now();
    constexpr int changes = 300;
    for (int i = 1; i <= changes; i++) {
        set("", {{"vdpa-agent-state", std::to_string(i)}});
        // By when the change before has been seen, and could have been written.
        std::promise<bool> answer;
        agent_->thread().has_interface("vm1",
                                       [&answer](bool is_there) { answer.set_value(is_there); });
        EXPECT_FALSE(answer.get_future().get());
    }
    const std::string state = "external_ids:vdpa-agent-state=" + std::to_string(changes);
    vsctl({"--timeout=20", "wait-until", "Open_vSwitch", ".", state});
    const auto taken = std::chrono::steady_clock::now() - begin;
    std::ifstream database(folder_ / "conf.db");
    long transactions = 0;
    for (std::string line; std::getline(database, line);) {
        transactions += line.find("vdpa-agent-state") == std::string::npos ? 0 : 1;
    }
    EXPECT_GE(transactions, 2);
    EXPECT_LE(transactions, taken / std::chrono::milliseconds(30) + 2);
}

TEST_F(Status, that_is_no_utf8_is_made_so) {
    start_server();
    start_agent();
    add_port("vm1");

    set("vm1", {{"vdpa-detail", "bad \xff byte"}, {"vdpa-state", "failed"}});

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "failed"));
    EXPECT_EQ(status_key("vm1", "vdpa-detail"), "\"bad \xef\xbf\xbd byte\"");
}

/* The server refuses a transaction that breaks a constraint as a whole. */
TEST_F(Status, refused_for_one_row_is_written_to_the_others) {
    std::ifstream installed("/usr/share/openvswitch/vswitch.ovsschema");
    nlohmann::json schema = nlohmann::json::parse(installed);
    schema["tables"]["Interface"]["columns"]["external_ids"]["type"]["max"] = 2;
    std::ofstream(folder_ / "schema") << schema;
    start_server(folder_ / "schema");
    start_agent();
    add_port("vm1");
    vsctl({"set", "Interface", "vm1", "external_ids:a=1", "external_ids:b=2"});
    add_port("vm2");
    add_port("vm3");

    agent_->thread().set_status({{"vm1", {{"vdpa-state", "running"}}},
                                 {"vm2", {{"vdpa-state", "running"}}},
                                 {"vm3", {{"vdpa-state", "running"}}}});

    EXPECT_TRUE(wait_for_status("vm2", "vdpa-state", "running"));
    EXPECT_TRUE(wait_for_status("vm3", "vdpa-state", "running"));
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "");
    /* Tried again as soon as the row has changed. */
    vsctl({"remove", "Interface", "vm1", "external_ids", "a"});
    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
}

TEST_F(Status, refused_by_a_server_whose_disk_is_full_is_written_when_there_is_room_again) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "listening"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "listening"));

    server_->fill_disk();
    set("vm1", {{"vdpa-state", "running"}});
    ASSERT_TRUE(server_->wait_for_failed_write());
    EXPECT_EQ(status_key("vm1", "vdpa-state"), "listening");
    server_->empty_disk();

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
}

TEST_F(Status, changed_while_the_server_was_away_is_written_when_it_is_back) {
    start_server();
    start_agent();
    add_port("vm1");
    set("vm1", {{"vdpa-state", "running"}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));

    server_->stop(SIGKILL);
    ASSERT_TRUE(
        agent_->wait([](const Agent::View &view) { return !view.connections.back().connected; }));
    set("vm1", {{"vdpa-state", "connected"}});
    server_->start();

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-state", "connected"));
}

TEST_F(Status, given_just_before_the_end_is_written) {
    start_server();
    start_agent();
    add_port("vm1");

    set("vm1", {{"vdpa-state", "waiting"}});
    EXPECT_EQ(agent_->stop(), 0);

    EXPECT_EQ(status_key("vm1", "vdpa-state"), "waiting");
}

/* Another client that changes the same column all the time must neither make our writes fail nor
 * lose its own. */
TEST_F(Status, and_a_concurrent_writer_of_the_column_do_not_disturb_each_other) {
    start_server();
    start_agent();
    add_port("vm1");

    for (int i = 0; i < 50; i++) {
        set("vm1", {{"vdpa-queues", std::to_string(i)}});
        vsctl({"set", "Interface", "vm1", "external_ids:other" + std::to_string(i) + "=1"});
    }

    EXPECT_TRUE(wait_for_status("vm1", "vdpa-queues", "\"49\""));
    for (int i = 0; i < 50; i++) {
        EXPECT_EQ(status_key("vm1", "other" + std::to_string(i)), "\"1\"");
    }
}

}  // namespace
}  // namespace vdpa::test
