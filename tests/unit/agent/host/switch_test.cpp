// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/switch.hpp"

#include <cerrno>

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
        const auto done = KernelSwitch().set_mac(port, Mac{2, 0, 0, 0, 0, 1});
        EXPECT_FALSE(done);
        return done ? 0 : done.error().code;
    }
};

TEST_F(PfNetdev, is_found_under_whatever_name_it_has) {
    make_foreign("p0", true);
    const int ifindex = find("p0")->ifindex;
    EXPECT_EQ(set_mac("p0", ifindex), EOPNOTSUPP);
    rename("p0", "enp67s0f0np0");
    EXPECT_EQ(set_mac("p0", ifindex), EOPNOTSUPP);
    remove_by_hand("enp67s0f0np0");
    EXPECT_EQ(set_mac("p0", ifindex), ENODEV);
}

TEST_F(PfNetdev, is_found_by_its_name_where_the_index_is_not_known_or_gone) {
    // The only one in a namespace that is not of a kind, as those of devices.
    EXPECT_EQ(set_mac("lo", 0), EOPNOTSUPP);
    EXPECT_EQ(set_mac("lo", 4711), EOPNOTSUPP);
}

TEST_F(PfNetdev, is_none_that_merely_has_the_name) {
    make_foreign("p0", true);
    EXPECT_EQ(set_mac("p0", 0), ENODEV);
}

}  // namespace
}  // namespace vdpa::agent::host
