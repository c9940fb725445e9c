// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/switch.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

/* Of netdevs that have no VFs: one that was found refuses the MAC address of any. */
class PfNetdev : public NamespaceTest {
  protected:
    int set_mac(const std::string &netdev, int ifindex) {
        FunctionPort port;
        port.function.pf = {"pci", "0000:43:00.0"};
        port.pf_netdev = netdev;
        port.pf_ifindex = ifindex;
        const auto done = KernelSwitch(folder.path("sys")).set_mac(port, Mac{2, 0, 0, 0, 0, 1});
        EXPECT_FALSE(done);
        if (!done) {
            detail = done.error().detail;
        }
        return done ? 0 : done.error().code;
    }
    /* The PF is there, and has those netdevs. */
    void make_pf(const std::vector<std::string> &netdevs) {
        const std::filesystem::path net(folder.path("sys/bus/pci/devices/0000:43:00.0/net"));
        std::filesystem::create_directories(net);
        for (const std::string &netdev : netdevs) {
            std::filesystem::create_directory(net / netdev);
        }
    }

    std::string detail;
};

TEST_F(PfNetdev, is_found_under_whatever_name_it_has) {
    // The only one in a namespace that is not of a kind, as those of devices.
    EXPECT_EQ(set_mac("p0", find("lo")->ifindex), EOPNOTSUPP);
}

TEST_F(PfNetdev, is_found_by_its_name_where_the_index_is_not_known_or_gone) {
    EXPECT_EQ(set_mac("lo", 0), EOPNOTSUPP);
    EXPECT_EQ(set_mac("lo", 4711), EOPNOTSUPP);
}

TEST_F(PfNetdev, is_none_that_merely_has_the_name) {
    make_foreign("p0", true);
    EXPECT_EQ(set_mac("p0", 0), ENODEV);
    EXPECT_EQ(set_mac("p1", find("p0")->ifindex), ENODEV) << "nor the index";
}

TEST_F(PfNetdev, is_found_by_its_device_where_name_and_index_are_of_others) {
    make_foreign("p0", true);
    make_pf({"p0", "lo", "gone"});
    EXPECT_EQ(set_mac("p0", 0), EOPNOTSUPP);
    EXPECT_EQ(set_mac("old", find("p0")->ifindex), EOPNOTSUPP);
}

TEST_F(PfNetdev, that_cannot_be_found_is_not_gone_while_its_pf_is_there) {
    make_pf({});
    EXPECT_EQ(set_mac("p0", 0), EAGAIN);
    EXPECT_FALSE(NetlinkError({EAGAIN, ""}).is_gone());
    EXPECT_THAT(detail, testing::HasSubstr("PF 0000:43:00.0"));
    std::filesystem::remove_all(folder.path("sys/bus/pci/devices/0000:43:00.0"));
    EXPECT_EQ(set_mac("p0", 0), ENODEV);
}

}  // namespace
}  // namespace vdpa::agent::host
