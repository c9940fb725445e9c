// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/uevent_monitor.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "tests/unit/agent/event_loop.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using namespace std::string_literals;

TEST(Uevent, of_the_kernel_is_read) {
    EXPECT_EQ(parse_uevent("bind@/devices/pci0000:40/0000:43:00.2\0ACTION=bind\0"
                           "DEVPATH=/devices/pci0000:40/0000:43:00.2\0SUBSYSTEM=pci\0"
                           "DRIVER=mlx5_core\0SEQNUM=4711\0"s),
              (Uevent{"bind", "pci", "/devices/pci0000:40/0000:43:00.2"}));
    EXPECT_EQ(parse_uevent("add@/module/x\0"s), (Uevent{"add", "", "/module/x"}));
    EXPECT_EQ(parse_uevent("add@/x\0SUBSYSTEM=net"s), (Uevent{"add", "net", "/x"}));
}

TEST(Uevent, that_is_something_else_is_not_read) {
    EXPECT_EQ(parse_uevent(""), std::nullopt);
    EXPECT_EQ(parse_uevent("\0\0\0"s), std::nullopt);
    EXPECT_EQ(parse_uevent("add@/x"), std::nullopt);  // cut short
    EXPECT_EQ(parse_uevent("libudev\0\xfe\xed\xca\xfe SUBSYSTEM=pci\0"s), std::nullopt);
}

TEST(Uevent, tells_whether_there_is_a_device_behind_it) {
    EXPECT_TRUE((Uevent{"add", "net", "/devices/virtual/net/vm1"}).is_virtual());
    EXPECT_FALSE((Uevent{"add", "net", "/devices/netdevsim10/net/eni10np1"}).is_virtual());
    EXPECT_FALSE((Uevent{"move", "net", "/devices/pci0000:40/0000:43:00.2/net/v"}).is_virtual());
}

class UeventMonitorTest : public NamespaceTest {
  protected:
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }
    bool has_heard_of(const std::string &path) const {
        return std::any_of(heard.begin(), heard.end(), [&path](const auto &event) {
            return event && event->path == path && event->action == "add";
        });
    }

    boost::asio::io_context io;
    std::vector<std::optional<Uevent>> heard;
    UeventMonitor monitor{io, [this](const auto &event) { heard.push_back(event); }};
};

TEST_F(UeventMonitorTest, hears_of_devices_that_come) {
    ASSERT_TRUE(monitor.start());
    make_foreign("t1", true);
    ASSERT_TRUE(until([this] { return has_heard_of("/devices/virtual/net/t1"); }));
}

TEST_F(UeventMonitorTest, believes_nobody_but_the_kernel) {
    ASSERT_TRUE(monitor.start());
    const UniqueFd liar(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
    sockaddr_nl group{};
    group.nl_family = AF_NETLINK;
    group.nl_groups = 1;
    const std::string lie = "add@/devices/lie\0SUBSYSTEM=pci\0"s;
    ASSERT_EQ(::sendto(liar.get(), lie.data(), lie.size(), 0,
                       reinterpret_cast<const sockaddr *>(&group), sizeof group),
              static_cast<ssize_t>(lie.size()))
        << std::strerror(errno);
    make_foreign("t1", true);
    ASSERT_TRUE(until([this] { return has_heard_of("/devices/virtual/net/t1"); }));
    EXPECT_FALSE(has_heard_of("/devices/lie"));
}

TEST_F(UeventMonitorTest, says_when_it_has_missed_some) {
    ASSERT_TRUE(monitor.start(1));  // the kernel makes it as small as it can
    for (int i = 0; i < 50; i++) {
        make_foreign("t1", true);
        remove_by_hand("t1");
    }
    ASSERT_TRUE(until([this] {
        return std::any_of(heard.begin(), heard.end(), [](const auto &event) { return !event; });
    }));
}

}  // namespace
}  // namespace vdpa::agent::host
