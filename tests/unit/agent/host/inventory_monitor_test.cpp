// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/inventory_monitor.hpp"

#include <filesystem>

#include "tests/unit/agent/event_loop.hpp"
#include "tests/unit/agent/host/describe.hpp"
#include "tests/unit/agent/host/fixture.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

const Handle pf{"pci", "0000:43:00.0"};

/* Devices of a tree of files with netdevs of a namespace. What only real devices do is tested by
 * the system tests. */
class InventoryMonitorTest : public NamespaceTest {
  protected:
    InventoryMonitorTest() {
        // So that netdevs are looked for in the tree, as those of old kernels are.
        description = json::parse(R"({"pci": {
            "0000:43:00.0": {"driver": "drv", "files": {"sriov_totalvfs": "8"},
                             "vfs": ["0000:43:00.2"]},
            "0000:43:00.2": {"driver": "vf", "pf": "0000:43:00.0"}}})");
    }
    void make_tree() {
        std::filesystem::remove_all(root);
        make_sysfs(description, root);
    }
    void start() {
        make_tree();
        ASSERT_TRUE(links.start());
        monitor.start();
        ASSERT_TRUE(until([this] { return !heard.empty(); }));
    }
    void refresh() {
        bool is_done = false;
        monitor.refresh(pf, [&] { is_done = true; });
        ASSERT_TRUE(until([&] { return is_done; }));
    }
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }

    json description;
    std::string root = folder.path("sys");
    boost::asio::io_context io;
    std::vector<std::vector<std::string>> heard;
    LinkMonitor links{io, [](const std::string &) {}};
    InventoryMonitor monitor{io,
                             links,
                             {root, 0, std::chrono::seconds(15)},
                             [this](const std::shared_ptr<const Inventory> &inventory) {
                                 EXPECT_EQ(inventory, monitor.inventory());
                                 heard.push_back(describe(*inventory));
                             }};
};

TEST_F(InventoryMonitorTest, tells_of_all_that_there_is_at_once) {
    start();
    EXPECT_EQ(heard.front(), (std::vector<std::string>{
                                 "PF 0000:43:00.0 number 0 eswitch unsupported driver drv vfs 1/8",
                                 "  0000:43:00.0,pf0vf0 device 0000:43:00.2 driver vf"}));
}

TEST_F(InventoryMonitorTest, tells_of_a_difference_once_and_then_that_it_is_done) {
    start();
    refresh();
    EXPECT_EQ(heard.size(), 1U);  // nothing differs
    description["pci"]["0000:43:00.0"]["vfs"].push_back("0000:43:00.3");
    description["pci"]["0000:43:00.3"] = {{"pf", "0000:43:00.0"}};
    make_tree();
    bool is_done = false;
    size_t heard_before_done = 0;
    monitor.refresh(pf, [&] {
        is_done = true;
        heard_before_done = heard.size();
    });
    ASSERT_TRUE(until([&] { return is_done; }));
    EXPECT_EQ(heard_before_done, 2U);
    EXPECT_THAT(heard.back(), Contains("  0000:43:00.0,pf0vf1 device 0000:43:00.3"));
    refresh();
    EXPECT_EQ(heard.size(), 2U);
}

TEST_F(InventoryMonitorTest, tells_when_a_netdev_is_claimed_and_no_more) {
    make_foreign("v0", true);
    const int ifindex = find("v0")->ifindex;
    description["pci"]["0000:43:00.2"]["net"]["v0"] = ifindex;
    start();
    EXPECT_THAT(heard.front(), Contains(HasSubstr("driver vf netdev v0")));
    set_address("v0", "10.9.8.7");
    ASSERT_TRUE(until([&] { return links.links().has_address(ifindex); }));
    refresh();
    EXPECT_THAT(heard.back(), Contains(HasSubstr("driver vf netdev v0 claimed")));
    remove_by_hand("v0");
    ASSERT_TRUE(until([&] { return !links.find("v0"); }));
    refresh();
    EXPECT_THAT(heard.back(), Contains("  0000:43:00.0,pf0vf0 device 0000:43:00.2 driver vf"));
}

TEST_F(InventoryMonitorTest, tells_of_what_has_gone) {
    start();
    std::filesystem::remove_all(root);
    refresh();
    EXPECT_THAT(heard.back(), testing::IsEmpty());
}

TEST_F(InventoryMonitorTest, answers_all_who_ask_for_a_refresh) {
    start();
    int done = 0;
    for (int i = 0; i < 50; i++) {
        monitor.refresh({"pci", "0000:99:00.0"}, [&] { done++; });
        monitor.refresh_vdpa([&] { done++; });
    }
    ASSERT_TRUE(until([&] { return done == 100; }));
    EXPECT_EQ(heard.size(), 1U);
}

TEST_F(InventoryMonitorTest, may_be_asked_for_a_refresh_by_its_listener) {
    make_tree();
    boost::asio::io_context own;
    LinkMonitor own_links{own, [](const std::string &) {}};
    bool is_done = false;
    std::unique_ptr<InventoryMonitor> second;
    second = std::make_unique<InventoryMonitor>(
        own, own_links, InventoryMonitor::Settings{root, 0, std::chrono::seconds(15)},
        [&](const auto &) { second->refresh(pf, [&] { is_done = true; }); });
    ASSERT_TRUE(own_links.start());
    second->start();
    ASSERT_TRUE(run_until(own, [&] { return is_done; }));
}

}  // namespace
}  // namespace vdpa::agent::host
