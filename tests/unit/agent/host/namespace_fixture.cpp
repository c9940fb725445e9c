// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/namespace_fixture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace vdpa::agent::host {

namespace {

ifreq named(const std::string &name) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    return request;
}

void control(unsigned long what, ifreq &request) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::ioctl(socket.get(), what, &request), 0)
        << request.ifr_name << ": " << std::strerror(errno);
}

}  // namespace

Folder::Folder() {
    char name[] = "/tmp/agent-host.XXXXXX";
    path_ = ::mkdtemp(name);
}

Folder::~Folder() {
    std::filesystem::remove_all(path_);
}

void NamespaceTest::SetUp() {
    static const bool unshared = ::unshare(CLONE_NEWNET) == 0;
    if (!unshared) {
        GTEST_SKIP() << "no privilege to make a network namespace";
    }
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "no /dev/net/tun";
    }
}

void NamespaceTest::TearDown() {
    // /proc, because sysfs shows the namespace that it was mounted in.
    std::ifstream devices("/proc/net/dev");
    for (std::string line; std::getline(devices, line);) {
        const size_t colon = line.find(':');
        const size_t begin = line.find_first_not_of(' ');
        if (colon == std::string::npos) {
            continue;
        }
        const std::string name = line.substr(begin, colon - begin);
        if (const auto link = find(name); link && link->kind == "tun") {
            remove_by_hand(name);
        }
    }
}

UniqueFd NamespaceTest::make_foreign(const std::string &name, bool persistent) {
    UniqueFd queue(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request = named(name);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
    EXPECT_EQ(::ioctl(queue.get(), TUNSETIFF, &request), 0) << std::strerror(errno);
    EXPECT_EQ(::ioctl(queue.get(), TUNSETPERSIST, persistent ? 1UL : 0UL), 0);
    return queue;
}

void NamespaceTest::remove_by_hand(const std::string &name) {
    const auto link = find(name);
    ASSERT_TRUE(link) << name;
    auto rtnl = Rtnl::open();
    ASSERT_TRUE(rtnl);
    ASSERT_TRUE(rtnl->remove(link->ifindex));
}

void NamespaceTest::rename(const std::string &from, const std::string &to) {
    ifreq request = named(from);
    to.copy(request.ifr_newname, IFNAMSIZ - 1);
    control(SIOCSIFNAME, request);
}

void NamespaceTest::rename_by_hand(const std::string &from, const std::string &to) {
    set_up(from, false);
    ifreq request = named(from);
    to.copy(request.ifr_newname, IFNAMSIZ - 1);
    control(SIOCSIFNAME, request);
}

void NamespaceTest::set_up(const std::string &name, bool up) {
    ifreq request = named(name);
    control(SIOCGIFFLAGS, request);
    const auto flags = static_cast<unsigned>(request.ifr_flags);
    request.ifr_flags = static_cast<short>(up ? flags | IFF_UP : flags & ~unsigned{IFF_UP});
    control(SIOCSIFFLAGS, request);
}

void NamespaceTest::make_bridge(const std::string &name) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::ioctl(socket.get(), SIOCBRADDBR, name.c_str()), 0) << std::strerror(errno);
}

void NamespaceTest::remove_bridge(const std::string &name) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::ioctl(socket.get(), SIOCBRDELBR, name.c_str()), 0) << std::strerror(errno);
}

void NamespaceTest::attach(const std::string &bridge, const std::string &netdev, bool attached) {
    const auto link = find(netdev);
    ASSERT_TRUE(link) << netdev;
    ifreq request = named(bridge);
    request.ifr_ifindex = link->ifindex;
    control(attached ? SIOCBRADDIF : SIOCBRDELIF, request);
}

void NamespaceTest::set_address(const std::string &name, const std::string &address) {
    ifreq request = named(name);
    sockaddr_in wanted{};
    wanted.sin_family = AF_INET;
    ASSERT_EQ(::inet_pton(AF_INET, address.c_str(), &wanted.sin_addr), 1);
    std::memcpy(&request.ifr_addr, &wanted, sizeof wanted);
    control(SIOCSIFADDR, request);
}

std::optional<Link> NamespaceTest::find(const std::string &name) {
    auto rtnl = Rtnl::open();
    EXPECT_TRUE(rtnl);
    auto link = rtnl->find(name);
    EXPECT_TRUE(link) << link.error().detail;
    return link.value_or(std::nullopt);
}

std::string NamespaceTest::read_file(const std::string &path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace vdpa::agent::host
