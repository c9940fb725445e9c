// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/plan.hpp"

#include <boost/asio/io_context.hpp>

#include "ovs-vdpa-agent/reconcile/inventory_change.hpp"
#include "tests/unit/agent/reconcile/fake_host.hpp"
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using schema::DeviceKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/* What comes of a request on a host with a ConnectX PF of three VFs. */
class PlanTest : public testing::Test {
  protected:
    PlanTest() {
        host.attach([](const std::shared_ptr<const host::Inventory> &) {});
        host.add_pf(3);
        config.name = "vm1";
        config.engine.name = "vm1";
        config.engine.socket.path = "/run/1.sock";
        config.engine.max_queues = 4;
        ask(host::DpdkDevice{{"pci", "0000:43:00.3"}, ""});
    }
    void ask(host::RequestedDevice device) {
        config.device.emplace();
        config.device->device = std::move(device);
    }
    Expected<Plan> make() const {
        return make_plan(host.inventory, config,
                         [this](const std::string &name) { return rows.contains(name); });
    }
    Plan plan() const {
        auto made = make();
        EXPECT_TRUE(made) << made.error().detail;
        return made.value_or(Plan());
    }

    boost::asio::io_context io;
    FakeHost host{io};
    config::PortConfig config;
    std::set<std::string> rows{"vm1"};
};

TEST_F(PlanTest, of_a_vf_has_its_representor_and_its_address) {
    config.mac = "02:aa:00:00:00:01";
    config.mtu = 9000;
    const Plan made = plan();
    EXPECT_EQ(made.function.text(), "0000:43:00.0,pf0vf1");
    EXPECT_EQ(made.device, (schema::DeviceSpec{DeviceKind::dpdk, "0000:43:00.3"}));
    EXPECT_EQ(made.problem, std::nullopt);
    EXPECT_EQ(made.representor.ifindex, host.vf(1).representor->ifindex);
    EXPECT_EQ(made.representor.mac, config.mac);
    EXPECT_EQ(made.representor.mtu, 9000U);
    EXPECT_EQ(made.representor.pf_netdev, "p0");
    EXPECT_FALSE(made.is_set_up);
}

TEST_F(PlanTest, tells_an_address_that_is_not_set_from_one_that_is_not_known) {
    config.mac = "02:aa:00:00:00:01";
    host::Function &vf = host.vf(1);
    vf.mac = "";
    EXPECT_EQ(plan().representor.known_mac, "");
    vf.mac_is_unset = true;
    EXPECT_EQ(plan().representor.known_mac, host::no_mac) << "so it need not be asked for";
    vf.mac = "02:aa:00:00:00:02";
    vf.mac_is_unset = false;
    EXPECT_EQ(plan().representor.known_mac, vf.mac);
}

TEST_F(PlanTest, is_set_up_when_name_link_and_mac_address_are_as_asked_for) {
    config.mac = "02:aa:00:00:00:01";
    host::Function &vf = host.vf(1);
    vf.representor->netdev = "vm1";
    vf.representor->up = true;
    vf.mac = config.mac;
    EXPECT_TRUE(plan().is_set_up);
    vf.mac = "02:aa:00:00:00:02";
    EXPECT_FALSE(plan().is_set_up);
    vf.mac = "";
    EXPECT_TRUE(plan().is_set_up) << "what is not known is not asked for again and again";
    vf.representor->up = false;
    EXPECT_FALSE(plan().is_set_up);
    vf.representor->up = true;
    vf.netdev_up = true;
    EXPECT_FALSE(plan().is_set_up) << "the VF's own netdev is to be down";
}

TEST_F(PlanTest, leaves_the_mac_address_to_ovs_vswitchd_where_that_writes_it) {
    config.mac = "02:aa:00:00:00:01";
    config.switch_sets_mac = true;
    EXPECT_EQ(plan().representor.mac, "");
}

TEST_F(PlanTest, of_a_dpdk_port_leaves_the_netdev_alone) {
    ask(host::DerivedDevice());
    config.device->is_dpdk_port = true;
    config.device->representor =
        host::FunctionId{{"pci", "0000:43:00.0"}, std::nullopt, std::nullopt, host::Flavour::vf, 2};
    const Plan made = plan();
    EXPECT_TRUE(made.representor.keep_netdev);
    EXPECT_TRUE(made.is_set_up);
    EXPECT_EQ(made.device->name, "0000:43:00.4");
}

TEST_F(PlanTest, keeps_clear_of_the_name_of_another_row) {
    EXPECT_THAT(plan().representor.reserved_names, IsEmpty());
    rows.insert("eth1");
    EXPECT_THAT(plan().representor.reserved_names, ElementsAre("eth1"));
}

TEST_F(PlanTest, of_an_sf_hands_dpdk_its_auxiliary_device) {
    host::Function sf = host.vf(2);
    sf.id.flavour = host::Flavour::sf;
    sf.id.number = 4;
    sf.device = host::Handle{"auxiliary", "mlx5_core.sf.4"};
    sf.driver = "mlx5_core.sf";
    host.inventory.pfs[0].functions.push_back(sf);
    ask(host::DpdkDevice{*sf.device, "k=v"});
    EXPECT_EQ(plan().device->name, "auxiliary:mlx5_core.sf.4,k=v");
    EXPECT_EQ(plan().problem, std::nullopt);
    host.inventory.pfs[0].functions.back().driver = "";
    EXPECT_EQ(plan().problem->reason, schema::Reason::driver_mismatch);
}

TEST_F(PlanTest, names_the_driver_that_dpdk_needs_by_the_pf_s) {
    host.vf(1).driver = "";
    EXPECT_THAT(plan().problem->detail,
                testing::AllOf(HasSubstr("no driver"), HasSubstr("mlx5_core")));
    host.inventory.pfs[0].driver = "sfc";
    EXPECT_THAT(plan().problem->detail, HasSubstr("vfio-pci"));
    host.vf(1).driver = "vfio-pci";
    EXPECT_EQ(plan().problem, std::nullopt);
}

TEST_F(PlanTest, of_a_kernel_device_has_its_path) {
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    ask(host::KernelDevice{"v0", ""});
    config.device->representor = host.vf(0).id;
    const Plan made = plan();
    EXPECT_EQ(made.device, (schema::DeviceSpec{DeviceKind::kernel, "/dev/vhost-vdpa-3"}));
    EXPECT_EQ(made.vdpa_name, "v0");
    EXPECT_EQ(made.made, std::nullopt);
}

TEST_F(PlanTest, of_a_management_device_says_what_is_to_be_made) {
    host.add_management("vdpasim_net");
    ask(host::KernelDevice{"vdpasim_net", ""});
    config.device->representor = host.vf(0).id;
    config.mac = "02:aa:00:00:00:01";
    config.mtu = 1500;
    const host::VdpaSpec expected{"vm1", "vdpasim_net", config.mac, 1500, 4};
    EXPECT_EQ(plan().made, expected);
    EXPECT_EQ(plan().device, std::nullopt);
    EXPECT_EQ(plan().made_path, std::nullopt);
    host.add_vdpa("vm1", "/dev/vhost-vdpa-3");
    EXPECT_EQ(plan().made_path, "/dev/vhost-vdpa-3");
}

TEST_F(PlanTest, in_vf_lag_has_to_do_with_both_pfs) {
    host::Pf second = host.inventory.pfs[0];
    second.handle = {"pci", "0000:43:00.1"};
    second.number = 1;
    second.uplinks = {{9, "p1", true}};
    second.functions.resize(1);
    second.functions[0].id.pf = second.handle;
    second.functions[0].id.pf_number = 1;
    second.functions[0].device = host::Handle{"pci", "0000:43:01.2"};
    host.inventory.pfs.push_back(second);
    ask(host::DpdkDevice{{"pci", "0000:43:01.2"}, ""});
    const Plan made = plan();
    EXPECT_THAT(pfs_of(made), UnorderedElementsAre(host::Handle{"pci", "0000:43:00.0"},
                                                   host::Handle{"pci", "0000:43:00.1"}));
    EXPECT_EQ(made.representor.pf_netdev, "p1");
    EXPECT_EQ(made.representor.pf_ifindex, 9);
}

TEST(Functions, by_device_are_those_that_the_inventory_finds) {
    host::Inventory inventory;
    for (const char *slot : {"0000:43:00", "0000:44:00"}) {
        host::Pf pf;
        pf.handle = {"pci", std::string(slot) + ".0"};
        for (uint32_t i = 0; i < 512; i++) {
            host::Function function;
            function.id = {pf.handle, std::nullopt, 0, host::Flavour::vf, i};
            if (i % 8 != 7) {  // the others have no device on this host
                function.device = {"pci", std::string(slot) + "." + std::to_string(i + 2)};
            }
            pf.functions.push_back(function);
        }
        inventory.pfs.push_back(pf);
    }
    const FunctionsByDevice functions = functions_by_device(inventory);
    EXPECT_EQ(functions.size(), 2U * 512 * 7 / 8);
    for (const auto &[device, function] : functions) {
        EXPECT_EQ(function, inventory.function_with_device(device)) << device.text();
        const schema::DeviceSpec spec{DeviceKind::dpdk, device.device};
        EXPECT_EQ(function_of(functions, spec), function_of(inventory, spec)) << device.text();
    }
    EXPECT_EQ(function_of(functions, {DeviceKind::dpdk, "0000:45:00.2"}), nullptr);
    EXPECT_EQ(function_of(functions, {DeviceKind::tap, "vm1"}), nullptr);
}

TEST_F(PlanTest, says_which_things_one_port_alone_may_have) {
    EXPECT_THAT(wanted_things(config, nullptr),
                UnorderedElementsAre("socket /run/1.sock", "device pci/0000:43:00.3"));
    const Plan made = plan();
    EXPECT_THAT(wanted_things(config, &made),
                UnorderedElementsAre("socket /run/1.sock", "device pci/0000:43:00.3",
                                     "function 0000:43:00.0,pf0vf1"));
    config.device.reset();
    EXPECT_THAT(wanted_things(config, nullptr), ElementsAre("socket /run/1.sock"));
}

TEST(Changes, are_named_by_what_differs) {
    boost::asio::io_context io;
    FakeHost host{io};
    host.attach([](const std::shared_ptr<const host::Inventory> &) {});
    host.add_pf(3);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    const host::Inventory before = host.inventory;
    EXPECT_THAT(changes_of(before, before), IsEmpty());
    host.vf(1).representor->netdev = "vm1";
    EXPECT_THAT(
        changes_of(before, host.inventory),
        UnorderedElementsAre("vf 1", "device pci/0000:43:00.3", "netdev eth1", "netdev vm1"));
    host.inventory = before;
    host.inventory.pfs[0].eswitch = host::Pf::Eswitch::legacy;
    EXPECT_THAT(changes_of(before, host.inventory),
                UnorderedElementsAre("pf pci/0000:43:00.0", "bus pci/0000:43"));
    host.inventory = before;
    host.inventory.pfs[0].eswitch_error = "Cannot allocate memory";
    EXPECT_THAT(changes_of(before, host.inventory),
                UnorderedElementsAre("pf pci/0000:43:00.0", "bus pci/0000:43"));
    host.inventory = before;
    host.inventory.vdpa_devices.clear();
    EXPECT_THAT(changes_of(before, host.inventory),
                UnorderedElementsAre("vdpa v0", "vdpa /dev/vhost-vdpa-3"));
    EXPECT_THAT(changes_of(host.inventory, before),
                UnorderedElementsAre("vdpa v0", "vdpa /dev/vhost-vdpa-3"));
    host.inventory = {};
    EXPECT_THAT(changes_of(before, host.inventory),
                testing::IsSupersetOf({"vf 0", "vf 1", "vf 2", "pf pci/0000:43:00.0"}));
}

}  // namespace
}  // namespace vdpa::agent::reconcile
