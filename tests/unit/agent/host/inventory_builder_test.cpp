// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/inventory_builder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/devlink.h>
#include <linux/if.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "tests/unit/agent/host/describe.hpp"
#include "tests/unit/agent/host/fixture.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const Handle pf0{"pci", "0000:43:00.0"};
const Handle pf1{"pci", "0000:43:00.1"};

Link link(int ifindex, const std::string &name, const std::string &port,
          const std::string &switch_id, const Handle &parent = {}) {
    Link link;
    link.ifindex = ifindex;
    link.name = name;
    link.phys_port_name = port;
    link.switch_id = switch_id;
    link.parent_bus = parent.bus;
    link.parent_device = parent.device;
    return link;
}

double processor_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class InventoryBuilderTest : public testing::Test {
  protected:
    void add(const Link &link) { links.by_index[link.ifindex] = link; }
    void add_pf(const Handle &handle, std::optional<Pf::Eswitch> eswitch) {
        sysfs.devices[handle].total_vfs = 8;
        devlink.devices[handle] = eswitch;
    }
    void add_vf_port(const Handle &handle, uint32_t index, uint16_t pf, uint32_t vf, int ifindex) {
        devlink.ports[{handle, index}] = {
            handle, index, DEVLINK_PORT_FLAVOUR_PCI_VF, 0, false, pf, vf, ifindex, {}, {}};
    }
    std::vector<std::string> lines() {
        return describe(build_inventory(devlink, links, sysfs, {}));
    }

    DevlinkState devlink;
    Links links;
    SysfsSnapshot sysfs;
};

TEST_F(InventoryBuilderTest, makes_nothing_of_nothing) {
    EXPECT_EQ(build_inventory({}, {}, {}, {}), Inventory());
}

TEST_F(InventoryBuilderTest, has_no_pf_of_which_the_eswitch_is_not_known_yet) {
    add_pf(pf0, std::nullopt);
    EXPECT_THAT(lines(), IsEmpty());
    add_pf(pf0, Pf::Eswitch::legacy);
    EXPECT_THAT(lines(), ElementsAre("PF 0000:43:00.0 number 0 eswitch legacy vfs 0/8"));
}

TEST_F(InventoryBuilderTest, says_of_which_pf_the_eswitch_could_not_be_read) {
    add_pf(pf0, std::nullopt);
    devlink.eswitch_errors[pf0] = "no memory";
    // What has an eswitch cannot be told from what has none, but a PF can.
    const Handle other{"pci", "0000:99:00.0"};
    devlink.devices[other] = std::nullopt;
    devlink.eswitch_errors[other] = "no memory";
    sysfs.devices[other];
    EXPECT_THAT(lines(),
                ElementsAre("PF 0000:43:00.0 number 0 eswitch unread (no memory) vfs 0/8"));
    devlink.devices[pf0] = Pf::Eswitch::legacy;
    EXPECT_THAT(lines(),
                ElementsAre("PF 0000:43:00.0 number 0 eswitch legacy (no memory) vfs 0/8"));
}

TEST_F(InventoryBuilderTest, has_no_pf_that_sysfs_was_not_read_of_yet) {
    const Handle nic{"netdevsim", "netdevsim10"};
    devlink.devices[nic] = Pf::Eswitch::legacy;
    EXPECT_THAT(lines(), IsEmpty());
    sysfs.devices[nic].total_vfs = unlimited_vfs;
    EXPECT_THAT(lines(), SizeIs(1));
}

TEST_F(InventoryBuilderTest, has_no_pf_of_another_bus_than_pci_that_devlink_has_not_told_of_yet) {
    const Handle nic{"netdevsim", "netdevsim10"};
    sysfs.devices[nic].total_vfs = unlimited_vfs;
    EXPECT_THAT(lines(), IsEmpty());
    devlink.devices[nic] = Pf::Eswitch::legacy;
    EXPECT_THAT(lines(), SizeIs(1));
}

TEST_F(InventoryBuilderTest, does_not_take_for_a_pf_what_is_a_vf) {
    add_pf(pf0, Pf::Eswitch::legacy);
    const Handle vf{"pci", "0000:43:00.2"};
    sysfs.devices[vf].pf = "0000:43:00.0";
    sysfs.devices[pf0].vfs[0] = vf.device;
    devlink.devices[vf] = std::nullopt;
    devlink.ports[{vf, 1}].device = vf;
    devlink.ports[{vf, 1}].flavour = DEVLINK_PORT_FLAVOUR_VIRTUAL;
    EXPECT_THAT(lines(), ElementsAre("PF 0000:43:00.0 number 0 eswitch legacy vfs 0/8",
                                     "  0000:43:00.0,pf0vf0 device 0000:43:00.2"));
}

TEST_F(InventoryBuilderTest, has_no_representor_whose_netdev_rtnetlink_does_not_know) {
    add_pf(pf0, Pf::Eswitch::switchdev);
    add_vf_port(pf0, 1, 0, 3, 10);
    EXPECT_THAT(lines(), ElementsAre("PF 0000:43:00.0 number 0 eswitch switchdev vfs 0/8",
                                     "  0000:43:00.0,pf0vf3"));
    add(link(10, "eth0", "pf0vf3", "aa", pf0));
    EXPECT_THAT(lines(),
                ElementsAre("PF 0000:43:00.0 number 0 eswitch switchdev vfs 0/8 switch aa",
                            "  0000:43:00.0,pf0vf3 representor 10:eth0 port 0000:43:00.0/1"));
}

TEST_F(InventoryBuilderTest, believes_devlink_more_than_the_name_of_a_port) {
    add_pf(pf0, Pf::Eswitch::switchdev);
    add_vf_port(pf0, 1, 0, 3, 10);
    add(link(10, "eth0", "pf0vf7", "aa", pf0));
    EXPECT_THAT(lines()[1], testing::StartsWith("  0000:43:00.0,pf0vf3 representor 10:eth0"));
}

TEST_F(InventoryBuilderTest, finds_the_pf_of_representors_without_a_parent_by_their_switch) {
    add_pf(pf0, Pf::Eswitch::switchdev);
    add_pf(pf1, Pf::Eswitch::switchdev);
    add(link(4, "p4p1", "p0", "aa", pf0));
    add(link(5, "p4p2", "p1", "bb", pf1));
    add(link(10, "eth0", "pf0vf0", "aa"));
    add(link(11, "eth1", "pf1vf0", "bb"));
    add(link(12, "eth2", "pf1vf0", "cc"));  // of a switch that nobody knows
    EXPECT_THAT(
        lines(),
        ElementsAre("PF 0000:43:00.0 number 0 eswitch switchdev vfs 0/8 switch aa uplink 4:p4p1",
                    "  0000:43:00.0,pf0vf0 representor 10:eth0 of 0000:43:00.0",
                    "PF 0000:43:00.1 number 1 eswitch switchdev vfs 0/8 switch bb uplink 5:p4p2",
                    "  0000:43:00.1,pf1vf0 representor 11:eth1 of 0000:43:00.1"));
}

TEST_F(InventoryBuilderTest, finds_the_pf_of_a_switch_that_two_share_by_its_number) {
    add_pf(pf0, Pf::Eswitch::switchdev);
    add_pf(pf1, Pf::Eswitch::switchdev);
    add(link(4, "p4p1", "p0", "aa", pf0));
    add(link(5, "p4p2", "p1", "aa", pf1));
    add(link(10, "eth0", "pf0vf0", "aa"));
    add(link(11, "eth1", "pf1vf0", "aa"));
    const Inventory inventory = build_inventory(devlink, links, sysfs, {});
    EXPECT_EQ(inventory.function_with_representor("eth0")->id.pf, pf0);
    EXPECT_EQ(inventory.function_with_representor("eth1")->id.pf, pf1);
}

TEST_F(InventoryBuilderTest, takes_the_number_of_a_pf_from_its_functions) {
    const Handle handle{"auxiliary", "some.pf.0"};
    devlink.devices[handle] = Pf::Eswitch::switchdev;
    add_vf_port(handle, 1, 2, 0, 0);
    EXPECT_THAT(lines(), ElementsAre("PF auxiliary/some.pf.0 number 2 eswitch switchdev vfs 0/none",
                                     "  auxiliary/some.pf.0,pf2vf0"));
}

TEST_F(InventoryBuilderTest, tells_a_netdev_that_is_up_from_one_that_is_claimed) {
    add_pf(pf0, Pf::Eswitch::legacy);
    sysfs.devices[pf0].vfs = {{0, "0000:43:00.2"}, {1, "0000:43:00.3"}, {2, "0000:43:00.4"}};
    Link up = link(20, "v0", "", "", {"pci", "0000:43:00.2"});
    up.flags = IFF_UP;
    Link attached = link(21, "v1", "", "", {"pci", "0000:43:00.3"});
    attached.master = 3;
    add(up);
    add(attached);
    add(link(22, "v2", "", "", {"pci", "0000:43:00.4"}));
    EXPECT_THAT(lines(), testing::IsSupersetOf(
                             {"  0000:43:00.0,pf0vf0 device 0000:43:00.2 netdev v0 up",
                              "  0000:43:00.0,pf0vf1 device 0000:43:00.3 netdev v1 claimed",
                              "  0000:43:00.0,pf0vf2 device 0000:43:00.4 netdev v2"}));
    links.addresses.insert({22, 2, 24, "\x0a\x01\x01\x01"});
    EXPECT_THAT(lines(),
                testing::Contains("  0000:43:00.0,pf0vf2 device 0000:43:00.4 netdev v2 claimed"));
}

TEST_F(InventoryBuilderTest, gives_the_same_for_the_same) {
    const Fixture a("connectx6-dx.json");
    const Fixture b("connectx6-dx.json");
    EXPECT_EQ(a.inventory(), b.inventory());
}

TEST_F(InventoryBuilderTest, takes_no_more_than_its_share_of_time_for_many_vfs) {
    const auto measure = [this](uint32_t vfs) {
        devlink = {};
        links = {};
        sysfs = {};
        add_pf(pf0, Pf::Eswitch::switchdev);
        for (uint32_t vf = 0; vf < vfs; vf++) {
            const std::string name = std::to_string(vf);
            const Handle device{"pci", "0000:44:" + name};
            sysfs.devices[pf0].vfs[vf] = device.device;
            sysfs.devices[device].pf = pf0.device;
            add_vf_port(pf0, vf, 0, vf, static_cast<int>(vf) + 10);
            add(link(static_cast<int>(vf) + 10, "eth" + name, "pf0vf" + name, "aa", pf0));
        }
        double best = 1e9;
        for (int i = 0; i < 5; i++) {
            const double begin = processor_seconds();
            const Inventory inventory = build_inventory(devlink, links, sysfs, {});
            best = std::min(best, processor_seconds() - begin);
            EXPECT_EQ(inventory.pfs.at(0).functions.size(), vfs);
        }
        return best;
    };
    const double few = measure(512);
    const double many = measure(4096);
    RecordProperty("microseconds_for_512", static_cast<int>(few * 1e6));
    // Eight times as many; sixty-four times as long if it grew with the square.
    EXPECT_LT(many / few, 25);
}

TEST(Sysfs, that_is_not_there_has_nothing) {
    EXPECT_EQ(read_sysfs("/nowhere", {{"netdevsim", "netdevsim10"}}, true), SysfsSnapshot());
}

TEST(Sysfs, with_odd_contents_is_read_as_far_as_it_makes_sense) {
    const Folder folder;
    const std::string device = folder.path("bus/pci/devices/0000:43:00.0");
    std::filesystem::create_directories(device + "/net/eth0");
    std::filesystem::create_directory(device + "/virtfn0");  // not a link
    std::filesystem::create_symlink("../x", device + "/virtfnx");
    std::filesystem::create_symlink("../x", device + "/virtfn1x");
    std::filesystem::create_symlink("../0000:43:00.3", device + "/virtfn1");
    std::ofstream(device + "/class") << "0x020000\n";
    std::ofstream(device + "/sriov_totalvfs") << "8\n";
    std::ofstream(folder.path("bus/pci/devices/file")) << "?";
    SysfsSnapshot expected;
    SysfsDevice &pf = expected.devices[{"pci", "0000:43:00.0"}];
    pf.pci_class = 0x20000;
    pf.total_vfs = 8;
    pf.num_vfs = 1;
    pf.vfs = {{1, "0000:43:00.3"}};
    EXPECT_EQ(read_sysfs(folder.path(""), {}, true), expected);
    std::ofstream(device + "/sriov_totalvfs") << "many\n";
    pf.total_vfs.reset();
    pf.num_vfs = 0;
    pf.vfs.clear();
    EXPECT_EQ(read_sysfs(folder.path(""), {}, true), expected);
}

}  // namespace
}  // namespace vdpa::agent::host
