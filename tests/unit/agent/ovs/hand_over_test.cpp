// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <signal.h>

#include <future>

#include "tests/unit/agent/ovs/database_fixture.hpp"

namespace vdpa::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;
using testing::SizeIs;

class HandOver : public DatabaseTest {
  protected:
    /* Has passed through the agent everything that was changed before. */
    void barrier() {
        const std::string mark = "mark" + std::to_string(++marks_);
        vsctl({"set", "Open_vSwitch", ".", "other_config:barrier=" + mark});
        ASSERT_TRUE(agent_->wait([&](const Agent::View &view) {
            const auto found = view.global.other_config.find("barrier");
            return found != view.global.other_config.end() && found->second == mark;
        }));
    }

    size_t times_handed_over(const std::string &name) {
        size_t times = 0;
        for (const Changes &changes : agent_->view().history) {
            for (const InterfaceRow &row : changes.interfaces) {
                times += row.name == name;
            }
        }
        return times;
    }

    bool was_gone(const std::string &name) {
        for (const Changes &changes : agent_->view().history) {
            for (const std::string &gone : changes.gone) {
                if (gone == name) {
                    return true;
                }
            }
        }
        return false;
    }

  private:
    int marks_ = 0;
};

TEST_F(HandOver, first_one_is_complete_and_holds_vdpa_ports_only) {
    start_server();
    vsctl({"add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
           "options:vdpa-socket=/tmp/vm1.sock", "options:vdpa-sw=true", "external_ids:vm-uuid=7",
           "type=system", "mtu=1500", "mtu_request=1400", "--", "set", "Bridge", "br0",
           "datapath_type=netdev"});
    vsctl({"add-port", "br0", "eth7"});

    start_agent();

    const Agent::View view = agent_->view();
    ASSERT_THAT(view.history, SizeIs(1));
    EXPECT_TRUE(view.history[0].complete);
    EXPECT_TRUE(view.history[0].has_global);
    ASSERT_THAT(view.rows, ElementsAre(Key("vm1")));
    const InterfaceRow &row = view.rows.at("vm1");
    EXPECT_EQ(row.type, "system");
    EXPECT_THAT(row.options,
                ElementsAre(Pair("vdpa-socket", "/tmp/vm1.sock"), Pair("vdpa-sw", "true")));
    EXPECT_THAT(row.external_ids, ElementsAre(Pair("vm-uuid", "7")));
    EXPECT_EQ(row.mtu, 1500);
    EXPECT_EQ(row.mtu_request, 1400);
    EXPECT_EQ(row.ofport, std::nullopt);
    EXPECT_EQ(row.bridge, "br0");
    EXPECT_EQ(row.datapath_type, "netdev");
}

TEST_F(HandOver, knows_of_interfaces_that_are_no_vdpa_ports_when_it_is_asked) {
    start_server();
    vsctl({"add-port", "br0", "eth7"});
    start_agent();
    for (const auto &[name, exists] : {std::pair("eth7", true), std::pair("eth8", false)}) {
        std::promise<bool> answer;
        agent_->thread().has_interface(name,
                                       [&answer](bool is_there) { answer.set_value(is_there); });
        auto answered = answer.get_future();
        ASSERT_EQ(answered.wait_for(std::chrono::seconds(20)), std::future_status::ready);
        EXPECT_EQ(answered.get(), exists) << name;
    }
}

TEST_F(HandOver, accepts_the_socket_in_external_ids_and_under_its_alias) {
    start_server();
    start_agent();

    vsctl(
        {"add-port", "br0", "a", "--", "set", "Interface", "a", "external_ids:vdpa-socket=/tmp/a"});
    vsctl(
        {"add-port", "br0", "b", "--", "set", "Interface", "b", "options:vdpa-socket-path=/tmp/b"});

    EXPECT_TRUE(agent_->wait([](const Agent::View &view) {
        return view.rows.contains("a") && view.rows.contains("b");
    }));
}

TEST_F(HandOver, of_an_added_port_comes_with_its_bridge_at_once) {
    start_server();
    start_agent();

    add_port("vm1");

    const Agent::View view = agent_->view();
    ASSERT_THAT(view.history.back().interfaces, SizeIs(1));
    EXPECT_EQ(view.history.back().interfaces[0].bridge, "br0");
    EXPECT_FALSE(view.history.back().complete);
}

TEST_F(HandOver, follows_changes_of_any_column_read) {
    start_server();
    start_agent();
    add_port("vm1");

    vsctl({"set", "Interface", "vm1", "options:vdpa-max-queues=4"});
    EXPECT_TRUE(agent_->wait_for_row(
        "vm1", [](const InterfaceRow &row) { return row.options.contains("vdpa-max-queues"); }));
    vsctl({"set", "Interface", "vm1", "mtu=9000", "ofport=7", "error=\"no such device\"",
           "link_state=up"});
    EXPECT_TRUE(agent_->wait_for_row("vm1", [](const InterfaceRow &row) {
        return row.mtu == 9000 && row.ofport == 7 && row.error == "no such device" &&
               row.link_state == "up";
    }));
}

TEST_F(HandOver, follows_a_row_that_becomes_a_vdpa_port_and_ceases_to_be_one) {
    start_server();
    vsctl({"add-port", "br0", "vm1"});
    start_agent();

    vsctl({"set", "Interface", "vm1", "options:vdpa-socket=/tmp/vm1.sock"});
    EXPECT_TRUE(
        agent_->wait_for_row("vm1", [](const InterfaceRow &row) { return row.bridge == "br0"; }));
    vsctl({"remove", "Interface", "vm1", "options", "vdpa-socket"});
    EXPECT_TRUE(agent_->wait([](const Agent::View &view) { return view.rows.empty(); }));
    EXPECT_TRUE(was_gone("vm1"));
}

TEST_F(HandOver, is_not_made_for_changes_of_foreign_rows) {
    start_server();
    vsctl({"add-port", "br0", "eth7"});
    start_agent();
    add_port("vm1");
    barrier();
    const size_t before = agent_->view().history.size();

    vsctl({"set", "Interface", "eth7", "mtu=9000", "external_ids:a=b", "--", "add-port", "br0",
           "eth8", "--", "del-port", "br0", "eth7"});
    barrier();

    const Agent::View view = agent_->view();
    ASSERT_EQ(view.history.size(), before + 1);
    EXPECT_THAT(view.history.back().interfaces, IsEmpty());
}

TEST_F(HandOver, is_not_made_for_status_keys_of_our_own) {
    start_server();
    start_agent();
    add_port("vm1");
    agent_->thread().set_status({{"vm1", {{"vdpa-state", "running"}}}});
    ASSERT_TRUE(wait_for_status("vm1", "vdpa-state", "running"));
    barrier();
    EXPECT_EQ(times_handed_over("vm1"), 1U);

    vsctl({"set", "Interface", "vm1", "external_ids:foreign=1"});
    ASSERT_TRUE(agent_->wait_for_row(
        "vm1", [](const InterfaceRow &row) { return row.external_ids.contains("foreign"); }));
    EXPECT_EQ(agent_->view().rows.at("vm1").external_ids.at("vdpa-state"), "running");
}

TEST_F(HandOver, follows_a_port_from_bridge_to_bridge) {
    start_server();
    vsctl({"add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=netdev"});
    start_agent();
    add_port("vm1");
    const std::string port = vsctl({"get", "Port", "vm1", "_uuid"});

    vsctl({"remove", "Bridge", "br0", "ports", port, "--", "add", "Bridge", "br1", "ports", port});

    EXPECT_TRUE(agent_->wait_for_row("vm1", [](const InterfaceRow &row) {
        return row.bridge == "br1" && row.datapath_type == "netdev";
    }));
    EXPECT_FALSE(was_gone("vm1"));
}

TEST_F(HandOver, follows_the_datapath_type_of_the_bridge) {
    start_server();
    start_agent();
    add_port("vm1");

    vsctl({"set", "Bridge", "br0", "datapath_type=netdev"});

    EXPECT_TRUE(agent_->wait_for_row(
        "vm1", [](const InterfaceRow &row) { return row.datapath_type == "netdev"; }));
}

TEST_F(HandOver, finds_the_bridge_of_each_interface_of_a_bond) {
    start_server();
    start_agent();

    vsctl({"add-bond", "br0", "bond0", "vm1", "vm2", "--", "set", "Interface", "vm2",
           "options:vdpa-socket=/tmp/vm2.sock"});

    EXPECT_TRUE(
        agent_->wait_for_row("vm2", [](const InterfaceRow &row) { return row.bridge == "br0"; }));
}

TEST_F(HandOver, of_an_interface_that_went_with_its_bridge) {
    start_server();
    start_agent();
    add_port("vm1");

    vsctl({"del-br", "br0"});

    EXPECT_TRUE(agent_->wait([](const Agent::View &view) { return view.rows.empty(); }));
    EXPECT_TRUE(was_gone("vm1"));
}

TEST_F(HandOver, of_a_port_deleted_and_added_in_one_transaction_does_not_say_gone) {
    start_server();
    start_agent();
    add_port("vm1");

    vsctl({"del-port", "vm1", "--", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
           "options:vdpa-socket=/tmp/other.sock"});

    EXPECT_TRUE(agent_->wait_for_row("vm1", [](const InterfaceRow &row) {
        return row.options.at("vdpa-socket") == "/tmp/other.sock" && row.bridge == "br0";
    }));
    EXPECT_FALSE(was_gone("vm1"));
    EXPECT_EQ(times_handed_over("vm1"), 2U);
}

TEST_F(HandOver, of_the_open_vswitch_row_follows_other_config) {
    start_server();
    start_agent();
    EXPECT_FALSE(agent_->view().global.userspace_tso);

    vsctl({"set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true",
           "other_config:vdpa-socket-perms=0600"});

    EXPECT_TRUE(agent_->wait([](const Agent::View &view) { return view.global.userspace_tso; }));
    EXPECT_THAT(agent_->view().global.other_config, Contains(Pair("vdpa-socket-perms", "0600")));
}

TEST_F(HandOver, of_a_database_without_open_vswitch_row_says_so) {
    server_ = std::make_unique<DatabaseServer>(folder_);
    start_agent();
    EXPECT_TRUE(agent_->view().history[0].complete);
    EXPECT_FALSE(agent_->view().has_global);

    vsctl({"init"});

    EXPECT_TRUE(agent_->wait([](const Agent::View &view) { return view.has_global; }));
}

TEST_F(HandOver, after_resync_is_complete) {
    start_server();
    start_agent();
    add_port("vm1");

    EXPECT_EQ(agent_->appctl({"resync"}).exit_status, 0);

    ASSERT_TRUE(agent_->wait([](const Agent::View &view) { return view.resyncs == 1; }));
    const Agent::View view = agent_->view();
    EXPECT_TRUE(view.history.back().complete);
    EXPECT_TRUE(view.history.back().global.has_value());
    EXPECT_THAT(view.rows, ElementsAre(Key("vm1")));
}

TEST_F(HandOver, keeps_everything_while_the_server_is_away_and_is_complete_afterwards) {
    start_server();
    start_agent();
    add_port("vm1");
    add_port("vm2");

    server_->stop(SIGKILL);
    ASSERT_TRUE(
        agent_->wait([](const Agent::View &view) { return !view.connections.back().connected; }));
    const size_t before = agent_->view().history.size();
    EXPECT_THAT(agent_->view().rows, SizeIs(2));

    server_->start();
    vsctl({"del-port", "vm2"});
    ASSERT_TRUE(agent_->wait([](const Agent::View &view) { return view.rows.size() == 1; }));
    EXPECT_THAT(agent_->view().rows, ElementsAre(Key("vm1")));
    EXPECT_TRUE(agent_->view().history[before].complete);
    for (const Changes &changes : agent_->view().history) {
        EXPECT_TRUE(changes.has_global);
    }
}

/* The Open_vSwitch row has no value in it then, so that the replica does not say it is new. */
TEST_F(HandOver, notices_that_every_port_went_while_the_server_was_away) {
    start_server();
    start_agent();
    add_port("vm1");
    const std::filesystem::path copy = folder_ / "copy.db";

    server_->stop(SIGTERM);
    ASSERT_TRUE(
        agent_->wait([](const Agent::View &view) { return !view.connections.back().connected; }));
    /* Deleted by means of a server that the agent is not connected to. */
    std::filesystem::create_directory(folder_ / "elsewhere");
    std::filesystem::rename(folder_ / "conf.db", copy);
    {
        DatabaseServer elsewhere(folder_ / "elsewhere");
        elsewhere.stop(SIGTERM);
        std::filesystem::copy_file(copy, folder_ / "elsewhere" / "conf.db",
                                   std::filesystem::copy_options::overwrite_existing);
        elsewhere.start();
        elsewhere.vsctl({"del-br", "br0"});
        elsewhere.stop(SIGTERM);
    }
    std::filesystem::rename(folder_ / "elsewhere" / "conf.db", folder_ / "conf.db");
    server_->start();

    EXPECT_TRUE(agent_->wait([](const Agent::View &view) { return view.rows.empty(); }));
    EXPECT_TRUE(agent_->view().has_global);
}

}  // namespace
}  // namespace vdpa::test
