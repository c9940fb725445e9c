// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/representor_fixture.hpp"

#include <linux/if.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace vdpa::agent::host {

namespace {

constexpr const char *bridge = "br0";

int control(unsigned long what, void *argument) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return ::ioctl(socket.get(), what, argument) == 0 ? 0 : errno;
}

/* Of br0. */
int control_port(unsigned long what, int ifindex) {
    ifreq request{};
    std::strcpy(request.ifr_name, bridge);
    request.ifr_ifindex = ifindex;
    return control(what, &request);
}

tl::unexpected<NetlinkError> refused(int error) {
    return tl::make_unexpected(NetlinkError{error, std::strerror(error)});
}

std::optional<Link> look_up(int ifindex) {
    auto rtnl = Rtnl::open();
    return rtnl ? rtnl->find(ifindex).value_or(std::nullopt) : std::nullopt;
}

}  // namespace

NetResult<std::optional<int>> FakeSwitch::netdev(const Handle & /*device*/, uint32_t devlink_port) {
    if (state_.netdev_error != 0) {
        return refused(state_.netdev_error);
    }
    const auto found = state_.netdevs.find(devlink_port);
    return found == state_.netdevs.end() ? std::nullopt : std::optional(found->second);
}

std::string FakeSwitch::mac_path(const FunctionPort &port) const {
    return state_.mac_folder + "/mac" + std::to_string(port.function.number);
}

NetResult<std::optional<Mac>> FakeSwitch::mac(const FunctionPort &port) {
    state_.macs_read++;
    std::string text;
    std::ifstream(mac_path(port)) >> text;
    return parse_mac(text);
}

NetResult<void> FakeSwitch::set_mac(const FunctionPort &port, const Mac &mac) {
    state_.macs_set++;
    if (!state_.has_mac || state_.mac_error != 0) {
        return refused(state_.has_mac ? state_.mac_error : EOPNOTSUPP);
    }
    if (state_.mac_sticks) {
        std::ofstream(mac_path(port)) << format_mac(mac);
    }
    return {};
}

NetResult<std::optional<uint32_t>> FakeSwitch::find_vport(int datapath, int ifindex) {
    const auto link = look_up(ifindex);
    const bool is_port = state_.is_ovs && link && link->master == datapath;
    return is_port ? std::optional(static_cast<uint32_t>(ifindex)) : std::nullopt;
}

NetResult<bool> FakeSwitch::finds_vport(int datapath, const std::string &name) {
    for (const auto &[ifindex, attached_as] : state_.attached_as) {
        const auto link = look_up(ifindex);
        if (link && link->master == datapath && attached_as == name && link->name == name) {
            return true;
        }
    }
    return false;
}

NetResult<void> FakeSwitch::remove_vport(int /*datapath*/, uint32_t number) {
    if (state_.remove_error != 0) {
        return refused(state_.remove_error);
    }
    state_.attached_as.erase(static_cast<int>(number));
    const int error = control_port(SIOCBRDELIF, static_cast<int>(number));
    return error == 0 ? NetResult<void>() : refused(error);
}

void RepresentorTest::SetUp() {
    NamespaceTest::SetUp();
    if (IsSkipped()) {
        return;
    }
    char name[] = "br0";
    ASSERT_EQ(control(SIOCBRADDBR, name), 0) << std::strerror(errno);
    nic.mac_folder = folder.path("");
}

void RepresentorTest::TearDown() {
    char name[] = "br0";
    (void)control(SIOCBRDELBR, name);
    NamespaceTest::TearDown();
}

Representors RepresentorTest::open() {
    return Representors(std::move(*Rtnl::open()), std::make_unique<FakeSwitch>(nic),
                        OwnedFile(folder.path("owned.json")));
}

RepresentorSpec RepresentorTest::make_representor(uint32_t vf) {
    const std::string name = "eth" + std::to_string(vf);
    make_foreign(name, true);
    RepresentorSpec spec;
    spec.function.pf = {"pci", "0000:43:00.0"};
    spec.function.pf_number = 0;
    spec.function.number = vf;
    spec.ifindex = find(name)->ifindex;
    spec.devlink = spec.function.pf;
    spec.devlink_port = vf + 1;
    nic.netdevs[vf + 1] = spec.ifindex;
    std::ofstream(folder.path("mac" + std::to_string(vf))) << "00:00:00:00:00:00";
    return spec;
}

void RepresentorTest::attach(const std::string &name) {
    const auto found = find(name);
    ASSERT_TRUE(found) << name;
    ASSERT_EQ(control_port(SIOCBRADDIF, found->ifindex), 0) << std::strerror(errno);
    nic.attached_as[found->ifindex] = name;
}

void RepresentorTest::detach(const std::string &name) {
    const auto found = find(name);
    ASSERT_TRUE(found) << name;
    ASSERT_EQ(control_port(SIOCBRDELIF, found->ifindex), 0) << std::strerror(errno);
    nic.attached_as.erase(found->ifindex);
}

bool RepresentorTest::is_attached(const std::string &name) {
    const auto found = find(name);
    return found && found->master;
}

bool RepresentorTest::nothing_is_wedged() {
    for (const auto &[ifindex, attached_as] : nic.attached_as) {
        const auto found = look_up(ifindex);
        if (found && found->master && found->name != attached_as) {
            return false;
        }
    }
    return true;
}

Link RepresentorTest::link(int ifindex) {
    const auto found = look_up(ifindex);
    EXPECT_TRUE(found) << ifindex;
    return found.value_or(Link{});
}

bool RepresentorTest::is_up(const RepresentorSpec &spec) {
    return (link(spec.ifindex).flags & IFF_UP) != 0;
}

std::optional<OwnedRepresentor> RepresentorTest::recorded(const std::string &name) {
    OwnedFile record(folder.path("owned.json"));
    EXPECT_TRUE(record.load());
    return record.representor(name);
}

}  // namespace vdpa::agent::host
