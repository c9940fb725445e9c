// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/kernel_fixture.hpp"

#include <linux/openvswitch.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <stdio.h>

#include <chrono>
#include <fstream>
#include <thread>

namespace vdpa::agent::host {

namespace {

constexpr const char *bus = "/sys/bus/netdevsim/";
constexpr const char *number = "771";
constexpr const char *bridge = "br771";
/* NSIM_DEV_VF_PORT_INDEX_BASE of drivers/net/netdevsim/netdevsim.h. */
constexpr uint32_t first_vf_port = 128;
constexpr std::chrono::seconds longest_wait{30};

bool write(const std::string &path, const std::string &text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
}

std::optional<Link> look_up(int ifindex) {
    auto rtnl = Rtnl::open();
    return rtnl ? rtnl->find(ifindex).value_or(std::nullopt) : std::nullopt;
}

/* A request of Open vSwitch with a name, and a PID of nobody for what has no flow. */
int request(const char *family, uint8_t version, uint8_t command, int datapath,
            const std::function<void(nl_msg *)> &fill) {
    auto opened = GenericNetlink::open(family, version);
    if (!opened || !*opened) {
        return ENOENT;
    }
    const NlMessage message = (*opened)->request(command, 0, sizeof(ovs_header));
    auto *header = static_cast<ovs_header *>(
        genlmsg_user_hdr(static_cast<genlmsghdr *>(nlmsg_data(nlmsg_hdr(message.get())))));
    header->dp_ifindex = datapath;
    fill(message.get());
    const auto done = (*opened)->run(message.get());
    return done ? 0 : done.error().code;
}

}  // namespace

std::optional<std::string> run(const std::string &command) {
    FILE *pipe = ::popen(command.c_str(), "re");
    std::string text;
    for (int c = ::fgetc(pipe); c != EOF; c = ::fgetc(pipe)) {
        text += static_cast<char>(c);
    }
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return ::pclose(pipe) == 0 ? std::optional(text) : std::nullopt;
}

bool wait_for(const std::function<bool()> &condition) {
    const auto end = std::chrono::steady_clock::now() + longest_wait;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
}

void NetdevsimTest::SetUp() {
    if (::access((std::string(bus) + "new_device").c_str(), W_OK) != 0) {
        GTEST_SKIP() << "needs module netdevsim";
    }
    create();
}

void NetdevsimTest::TearDown() {
    if (created) {
        remove();
    }
}

void NetdevsimTest::create() {
    ASSERT_TRUE(write(std::string(bus) + "new_device", std::string(number) + " 1"));
    created = true;
}

void NetdevsimTest::remove() {
    created = false;
    ASSERT_TRUE(write(std::string(bus) + "del_device", number));
}

Representors NetdevsimTest::open() {
    auto opened = Representors::open(record());
    EXPECT_TRUE(opened);
    return std::move(*opened);
}

void NetdevsimTest::prepare(uint32_t vfs) {
    const PfStep make_vfs{.kind = PfStep::Kind::set_num_vfs, .pf = handle, .num_vfs = vfs};
    const auto made = acts().carry_out(make_vfs);
    ASSERT_TRUE(made) << made.error().detail;
    const auto set = acts().carry_out({.kind = PfStep::Kind::set_switchdev, .pf = handle});
    ASSERT_TRUE(set) << set.error().detail;
    for (uint32_t vf = 0; vf < vfs; vf++) {
        ASSERT_NE(representor(vf), 0) << vf;
    }
}

int NetdevsimTest::representor(uint32_t vf) {
    const auto port = DevlinkRequests::open()->port(handle, first_vf_port + vf);
    return port && *port ? (*port)->ifindex.value_or(0) : 0;
}

RepresentorSpec NetdevsimTest::spec(uint32_t vf) {
    RepresentorSpec wanted;
    wanted.function.pf = handle;
    wanted.function.pf_number = 0;
    wanted.function.number = vf;
    wanted.ifindex = representor(vf);
    wanted.devlink = handle;
    wanted.devlink_port = first_vf_port + vf;
    const auto uplink = DevlinkRequests::open()->port(handle, 0);
    wanted.pf_ifindex = (*uplink)->ifindex.value_or(0);
    wanted.pf_netdev = name_of(wanted.pf_ifindex);
    return wanted;
}

Link NetdevsimTest::link(int ifindex) {
    const auto found = look_up(ifindex);
    EXPECT_TRUE(found) << ifindex;
    return found.value_or(Link{});
}

std::string NetdevsimTest::name_of(int ifindex) {
    return link(ifindex).name;
}

std::string NetdevsimTest::vf_mac(uint32_t vf) {
    auto rtnl = Rtnl::open();
    const auto uplink = rtnl->find(spec(vf).pf_netdev);
    const auto mac = rtnl->vf_mac((*uplink)->ifindex, vf);
    return mac && *mac ? format_mac(**mac) : "";
}

void DatapathTest::SetUp() {
    NetdevsimTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
        return;
    }
    auto opened = OvsVports::open();
    ASSERT_TRUE(opened);
    if (!*opened) {
        GTEST_SKIP() << "needs module openvswitch";
    }
    vports = std::move(*opened);
    ASSERT_EQ(request(OVS_DATAPATH_FAMILY, OVS_DATAPATH_VERSION, OVS_DP_CMD_NEW, 0,
                      [](nl_msg *message) {
                          nla_put_string(message, OVS_DP_ATTR_NAME, bridge);
                          nla_put_u32(message, OVS_DP_ATTR_UPCALL_PID, 0);
                      }),
              0);
    datapath = Rtnl::open()->find(bridge)->value().ifindex;
}

void DatapathTest::TearDown() {
    if (datapath != 0) {
        EXPECT_EQ(request(OVS_DATAPATH_FAMILY, OVS_DATAPATH_VERSION, OVS_DP_CMD_DEL, datapath,
                          [](nl_msg * /*nothing*/) {}),
                  0);
    }
    NetdevsimTest::TearDown();
}

int DatapathTest::attach(const std::string &name) {
    return request(OVS_VPORT_FAMILY, OVS_VPORT_VERSION, OVS_VPORT_CMD_NEW, datapath,
                   [&name](nl_msg *message) {
                       nla_put_string(message, OVS_VPORT_ATTR_NAME, name.c_str());
                       nla_put_u32(message, OVS_VPORT_ATTR_TYPE, OVS_VPORT_TYPE_NETDEV);
                       nla_put_u32(message, OVS_VPORT_ATTR_UPCALL_PID, 0);
                   });
}

bool DatapathTest::is_port(int ifindex) {
    const auto port = vports->find(datapath, ifindex);
    EXPECT_TRUE(port);
    return port && *port;
}

std::string DatapathTest::master_of(int ifindex) {
    const auto master = link(ifindex).master;
    return master ? name_of(*master) : "";
}

}  // namespace vdpa::agent::host
