// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/link_monitor.hpp"

#include <linux/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "tests/unit/agent/event_loop.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

class LinkMonitorTest : public NamespaceTest {
  protected:
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }
    bool has_heard_of(const std::string &name) const {
        return std::find(heard.begin(), heard.end(), name) != heard.end();
    }

    boost::asio::io_context io;
    std::vector<std::string> heard;
    LinkMonitor monitor{io, [this](const std::string &name) { heard.push_back(name); }};
};

TEST_F(LinkMonitorTest, tells_of_what_is_there_at_the_start) {
    make_foreign("t1", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return has_heard_of("t1") && has_heard_of("lo"); }));
    EXPECT_EQ(*monitor.find("t1"), *find("t1"));
}

TEST_F(LinkMonitorTest, tells_of_what_comes_and_goes) {
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return has_heard_of("lo"); }));
    EXPECT_FALSE(monitor.find("t1"));
    make_foreign("t1", true);
    ASSERT_TRUE(until([this] { return monitor.find("t1") != nullptr; }));
    EXPECT_THAT(heard, Contains("t1"));
    heard.clear();
    remove_by_hand("t1");
    ASSERT_TRUE(until([this] { return !monitor.find("t1"); }));
    EXPECT_THAT(heard, Contains("t1"));
}

TEST_F(LinkMonitorTest, tells_of_both_names_of_what_is_renamed) {
    make_foreign("t1", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.find("t1") != nullptr; }));
    const int ifindex = monitor.find("t1")->ifindex;
    heard.clear();
    rename("t1", "t2");
    ASSERT_TRUE(until([this] { return has_heard_of("t1") && has_heard_of("t2"); }));
    EXPECT_FALSE(monitor.find("t1"));
    EXPECT_EQ(monitor.find("t2")->ifindex, ifindex);
}

TEST_F(LinkMonitorTest, follows_two_that_trade_their_names) {
    make_foreign("t1", true);
    make_foreign("t2", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.find("t1") && monitor.find("t2"); }));
    const int first = monitor.find("t1")->ifindex;
    const int second = monitor.find("t2")->ifindex;
    rename("t1", "t3");
    rename("t2", "t1");
    rename("t3", "t2");
    ASSERT_TRUE(until([&] { return monitor.find("t2")->ifindex == first; }));
    EXPECT_EQ(monitor.find("t1")->ifindex, second);
    EXPECT_FALSE(monitor.find("t3"));
}

TEST_F(LinkMonitorTest, tells_of_the_name_whose_netdev_is_another_now) {
    make_foreign("t1", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.find("t1") != nullptr; }));
    remove_by_hand("t1");
    make_foreign("t1", true);
    const int ifindex = find("t1")->ifindex;
    ASSERT_TRUE(
        until([&] { return monitor.find("t1") && monitor.find("t1")->ifindex == ifindex; }));
}

TEST_F(LinkMonitorTest, does_not_tell_of_what_concerns_nobody) {
    make_foreign("t1", true);
    make_foreign("t2", true);
    set_up("t1", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.find("t2") != nullptr; }));
    heard.clear();
    { const UniqueFd queue = make_foreign("t1", true); }  // the carrier comes and goes
    set_up("t2", true);
    ASSERT_TRUE(until([this] { return has_heard_of("t2"); }));
    EXPECT_THAT(heard, Not(Contains("t1")));
}

TEST_F(LinkMonitorTest, finds_out_what_it_missed_when_notifications_are_lost) {
    make_foreign("stays", true);
    make_foreign("goes", true);
    make_foreign("changes", true);
    ASSERT_TRUE(monitor.start(1));  // the kernel makes it as small as it can
    ASSERT_TRUE(until([this] { return monitor.find("changes") && monitor.find("goes"); }));
    // Nobody reads in the meantime.
    for (int i = 0; i < 200; i++) {
        set_up("changes", i % 2 == 0);
    }
    remove_by_hand("goes");
    make_foreign("comes", true);
    rename("changes", "changed");
    ASSERT_TRUE(until([this] {
        return !monitor.find("goes") && monitor.find("comes") && monitor.find("changed");
    }));
    EXPECT_GT(monitor.overruns(), 0U);
    EXPECT_FALSE(monitor.find("changes"));
    EXPECT_EQ(*monitor.find("stays"), *find("stays"));
    EXPECT_THAT(heard, Contains("goes"));
    EXPECT_THAT(heard, Contains("changes"));
}

TEST_F(LinkMonitorTest, does_not_keep_what_went_by_a_notification_that_was_lost) {
    make_foreign("t1", true);
    ASSERT_TRUE(monitor.start(1));
    ASSERT_TRUE(until([this] { return monitor.is_ready() && monitor.find("t1"); }));
    // What fits into the buffer tells that it came.
    make_foreign("ghost", true);
    for (int i = 0; i < 200; i++) {
        set_up("t1", i % 2 == 0);
    }
    remove_by_hand("ghost");
    make_foreign("last", true);
    ASSERT_TRUE(until([this] { return monitor.find("last") != nullptr; }));
    EXPECT_GT(monitor.overruns(), 0U);
    EXPECT_FALSE(monitor.find("ghost"));
}

TEST_F(LinkMonitorTest, goes_on_after_notifications_were_lost) {
    make_foreign("t1", true);
    ASSERT_TRUE(monitor.start(1));
    for (int i = 0; i < 200; i++) {
        set_up("t1", i % 2 == 0);
    }
    ASSERT_TRUE(until([this] { return monitor.overruns() > 0 && monitor.find("t1"); }));
    rename("t1", "t2");
    EXPECT_TRUE(until([this] { return monitor.find("t2") && !monitor.find("t1"); }));
}

/* Takes what waits at this process's rtnetlink sockets, so that nobody else hears of it. */
void intercept_notifications() {
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::stoi(entry.path().filename());
        int domain = 0;
        socklen_t size = sizeof domain;
        if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK) {
            std::array<char, 65536> buffer;
            while (::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
            }
        }
    }
}

TEST_F(LinkMonitorTest, finds_out_what_nobody_told_when_it_is_refreshed) {
    make_foreign("goes", true);
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.find("goes") != nullptr; }));
    heard.clear();
    remove_by_hand("goes");
    make_foreign("comes", true);
    intercept_notifications();
    io.poll();
    ASSERT_THAT(heard, IsEmpty());
    monitor.refresh();
    ASSERT_TRUE(until([this] { return monitor.find("comes") && !monitor.find("goes"); }));
    EXPECT_THAT(heard, UnorderedElementsAre("goes", "comes"));
    EXPECT_EQ(monitor.overruns(), 0U);
}

TEST_F(LinkMonitorTest, knows_which_netdev_has_an_address) {
    make_foreign("before", true);
    make_foreign("after", true);
    make_foreign("without", true);
    set_address("before", "10.9.8.7");
    ASSERT_TRUE(monitor.start());
    const auto has = [this](const char *name) {
        const Link *link = monitor.find(name);
        return link && monitor.links().has_address(link->ifindex);
    };
    ASSERT_TRUE(until([&] { return has("before"); }));
    set_address("after", "10.9.8.6");
    ASSERT_TRUE(until([&] { return has("after"); }));
    EXPECT_FALSE(has("without"));
    set_address("after", "0.0.0.0");
    EXPECT_TRUE(until([&] { return !has("after"); }));
    EXPECT_TRUE(has("before"));
    remove_by_hand("before");
    EXPECT_TRUE(until([&] { return monitor.links().addresses.empty(); }));
}

TEST_F(LinkMonitorTest, finds_out_which_addresses_went_when_notifications_were_lost) {
    make_foreign("t1", true);
    make_foreign("t2", true);
    set_address("t1", "10.9.8.7");
    ASSERT_TRUE(monitor.start(1));
    ASSERT_TRUE(until([this] { return monitor.links().addresses.size() == 1; }));
    for (int i = 0; i < 200; i++) {
        set_up("t1", i % 2 == 0);
    }
    set_address("t1", "0.0.0.0");
    set_address("t2", "10.9.8.6");
    ASSERT_TRUE(until([this] {
        return monitor.links().addresses.size() == 1 &&
               monitor.links().has_address(monitor.find("t2")->ifindex);
    }));
    EXPECT_GT(monitor.overruns(), 0U);
}

TEST_F(LinkMonitorTest, does_not_take_virtual_netdevs_for_devices) {
    unsigned changes = 0;
    monitor.on_device_change([&changes] { changes++; });
    ASSERT_TRUE(monitor.start());
    ASSERT_TRUE(until([this] { return monitor.is_ready(); }));
    EXPECT_EQ(changes, 1U);  // that it is ready
    make_foreign("t1", true);
    ASSERT_TRUE(until([this] { return monitor.find("t1") != nullptr; }));
    set_address("t1", "10.9.8.7");
    ASSERT_TRUE(until([this] { return !monitor.links().addresses.empty(); }));
    remove_by_hand("t1");
    ASSERT_TRUE(until([this] { return monitor.find("t1") == nullptr; }));
    EXPECT_EQ(changes, 1U);
}

}  // namespace
}  // namespace vdpa::agent::host
