// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/relay/tap_sandbox.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

namespace vdpa::engine::relay::test {

namespace {

constexpr uint16_t ethertype = 0x88b5;  // IEEE 802, local experimental

ifreq named(const std::string &name) {
    ifreq request{};
    name.copy(request.ifr_name, sizeof request.ifr_name - 1);
    return request;
}

UniqueFd any_socket() {
    return UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

bool write_file(const char *path, const char *text) {
    const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
    return fd && write(fd.get(), text, std::strlen(text)) > 0;
}

template <typename Value>
Value ethtool(const std::string &name, Value value) {
    ifreq request = named(name);
    request.ifr_data = reinterpret_cast<char *>(&value);
    EXPECT_EQ(ioctl(any_socket().get(), SIOCETHTOOL, &request), 0) << std::strerror(errno);
    return value;
}

}  // namespace

void TapSandbox::SetUp() {
    static const bool unshared = unshare(CLONE_NEWNET) == 0;
    if (!unshared) {
        GTEST_SKIP() << "no privilege to make a network namespace";
    }
    if (access("/dev/net/tun", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "no /dev/net/tun";
    }
    // Nothing but the tests' frames on the netdevs.
    write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

void TapSandbox::TearDown() {
    for (const auto &[name, flags] : taps_) {
        const UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
        ifreq request = named(name);
        request.ifr_flags = flags;
        if (ioctl(fd.get(), TUNSETIFF, &request) == 0) {
            ioctl(fd.get(), TUNSETPERSIST, 0);
        }
    }
}

void TapSandbox::make_tap(const std::string &name, bool multi_queue) {
    const UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request = named(name);
    const short flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
                                           (multi_queue ? IFF_MULTI_QUEUE : 0));
    request.ifr_flags = flags;
    ASSERT_EQ(ioctl(fd.get(), TUNSETIFF, &request), 0) << std::strerror(errno);
    ASSERT_EQ(ioctl(fd.get(), TUNSETPERSIST, 1), 0);
    taps_[name] = flags;
    request = named(name);
    request.ifr_flags = IFF_UP | IFF_NOARP;
    ASSERT_EQ(ioctl(any_socket().get(), SIOCSIFFLAGS, &request), 0);
}

void TapSandbox::delete_netdev(const std::string &name) {
    const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    struct {
        nlmsghdr header;
        ifinfomsg link;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_DELLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request.link.ifi_index = static_cast<int>(if_nametoindex(name.c_str()));
    ASSERT_EQ(send(fd.get(), &request, sizeof request, 0), static_cast<ssize_t>(sizeof request));
    struct {
        nlmsghdr header;
        nlmsgerr error;
    } answer{};
    ASSERT_GE(recv(fd.get(), &answer, sizeof answer, MSG_TRUNC),
              static_cast<ssize_t>(sizeof answer));
    ASSERT_EQ(answer.error.error, 0);
    taps_.erase(name);
}

bool TapSandbox::exists(const std::string &name) const {
    return if_nametoindex(name.c_str()) != 0;
}

bool TapSandbox::carrier(const std::string &name) const {
    ethtool_value value{};
    value.cmd = ETHTOOL_GLINK;
    return ethtool(name, value).data != 0;
}

unsigned TapSandbox::queues(const std::string &name) const {
    ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    return ethtool(name, channels).combined_count;
}

bool TapSandbox::tso(const std::string &name) const {
    ethtool_value value{};
    value.cmd = ETHTOOL_GTSO;
    return ethtool(name, value).data != 0;
}

HostPort::HostPort(const std::string &netdev)
    : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ethertype))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ethertype);
    address.sll_ifindex = static_cast<int>(if_nametoindex(netdev.c_str()));
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
    const int room = 16 << 20;
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    const int one = 1;
    setsockopt(socket_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
}

bool HostPort::send(const std::vector<uint8_t> &frame) {
    return ::send(socket_.get(), frame.data(), frame.size(), 0) ==
           static_cast<ssize_t>(frame.size());
}

std::vector<uint8_t> HostPort::receive() {
    std::vector<uint8_t> frame(65536);
    const ssize_t got = recv(socket_.get(), frame.data(), frame.size(), 0);
    frame.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return frame;
}

std::vector<uint8_t> test_frame(uint32_t number, size_t payload) {
    std::vector<uint8_t> frame{
        0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, ethertype >> 8, ethertype & 0xff};
    frame.resize(18 + payload);
    std::memcpy(frame.data() + 14, &number, sizeof number);
    return frame;
}

uint32_t number_of(const std::vector<uint8_t> &frame) {
    uint32_t number = UINT32_MAX;
    if (frame.size() >= 18) {
        std::memcpy(&number, frame.data() + 14, sizeof number);
    }
    return number;
}

bool eventually(const std::function<bool()> &condition, std::chrono::milliseconds bound) {
    const auto end = std::chrono::steady_clock::now() + bound;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
}

}  // namespace vdpa::engine::relay::test
