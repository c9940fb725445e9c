// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/devices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::agent::report {
namespace {

using nlohmann::json;
using schema::Reason;
using testing::AllOf;
using testing::HasSubstr;

/* A ConnectX PF with three VFs, and a kernel vDPA device. */
class Devices : public testing::Test {
  protected:
    Devices() {
        host::Pf pf;
        pf.handle = {"pci", "0000:43:00.0"};
        pf.driver = "mlx5_core";
        pf.total_vfs = 16;
        pf.num_vfs = 3;
        pf.eswitch = host::Pf::Eswitch::switchdev;
        pf.uplinks = {{2, "p0", true}};
        for (uint32_t i = 0; i < 3; i++) {
            pf.functions.push_back(vf(pf, i));
        }
        inventory.pfs = {pf};
        inventory.has_vdpa = inventory.has_vhost_vdpa = true;
        host::VdpaDevice device;
        device.name = "v0";
        device.management = "vdpasim_net";
        device.path = "/dev/vhost-vdpa-0";
        device.mac = "02:00:00:00:00:77";
        device.mtu = 1500;
        inventory.vdpa_devices = {device};
        inventory.vdpa_managements = {{"vdpasim_net", true, 3}};
    }
    static host::Function vf(const host::Pf &pf, uint32_t number) {
        host::Function function;
        function.id = {pf.handle, std::nullopt, pf.number, host::Flavour::vf, number};
        function.device = host::Handle{"pci", "0000:43:00." + std::to_string(number + 2)};
        function.driver = "mlx5_core";
        function.mac = "02:00:00:00:00:0" + std::to_string(number);
        function.representor.emplace();
        function.representor->netdev = "eth" + std::to_string(number);
        return function;
    }
    void use(const std::string &name, const std::string &function, const std::string &device) {
        PortView port;
        port.name = name;
        port.state = schema::State::running;
        port.function = function;
        port.device = device;
        ports[name] = std::make_shared<const PortView>(port);
    }
    std::string text() const { return devices_text(inventory, host_view, ports); }
    json as_json() const { return json::parse(devices_json(inventory, host_view, ports)); }

    host::Inventory inventory;
    HostView host_view;
    Board::Ports ports;
};

TEST_F(Devices, are_listed_with_their_representors_and_users) {
    use("vm1", "0000:43:00.0,pf0vf1", "0000:43:00.3");
    inventory.pfs[0].functions[1].representor->netdev = "vm1";
    inventory.pfs[0].functions[1].representor->up = true;
    use("vm2", "", "/dev/vhost-vdpa-0");
    EXPECT_EQ(text(),
              "PF 0000:43:00.0: mlx5_core, eswitch switchdev, 3 of 16 VFs, uplink p0 (up)\n"
              "    vf0 (0000:43:00.0,pf0vf0): 0000:43:00.2 mlx5_core, MAC address "
              "02:00:00:00:00:00, representor eth0 (down), free\n"
              "    vf1 (0000:43:00.0,pf0vf1): 0000:43:00.3 mlx5_core, MAC address "
              "02:00:00:00:00:01, representor vm1 (up), used by vm1 (running)\n"
              "    vf2 (0000:43:00.0,pf0vf2): 0000:43:00.4 mlx5_core, MAC address "
              "02:00:00:00:00:02, representor eth2 (down), free\n"
              "vDPA device v0: of vdpasim_net, /dev/vhost-vdpa-0, MAC address 02:00:00:00:00:77, "
              "MTU 1500, used by vm2 (running)\n"
              "vDPA management device vdpasim_net: makes network devices of up to 3 virtqueues\n");
}

TEST_F(Devices, as_json_have_the_same_for_programs) {
    use("vm1", "0000:43:00.0,pf0vf1", "0000:43:00.3");
    const json all = as_json();
    const json &functions = all["pfs"][0]["functions"];
    ASSERT_EQ(functions.size(), 3U);
    EXPECT_EQ(functions[0]["user"], nullptr);
    EXPECT_EQ(functions[1]["user"], "vm1");
    EXPECT_EQ(functions[1]["state"], "running");
    EXPECT_EQ(functions[1]["device"], "0000:43:00.3");
    EXPECT_EQ(functions[1]["representor"]["netdev"], "eth1");
    EXPECT_EQ(functions[1]["reason"], nullptr);
    EXPECT_EQ(all["vdpa_devices"][0]["path"], "/dev/vhost-vdpa-0");
    EXPECT_EQ(all["kernel_has_vdpa"], true);
}

TEST_F(Devices, of_an_invalid_row_are_those_that_nobody_else_uses) {
    use("vm1", "0000:43:00.0,pf0vf1", "");
    PortView loser = *ports["vm1"];
    loser.name = "vm0";
    loser.state = schema::State::invalid;
    ports["vm0"] = std::make_shared<const PortView>(loser);
    EXPECT_EQ(as_json()["pfs"][0]["functions"][1]["user"], "vm1");
    ports.erase("vm1");
    EXPECT_EQ(as_json()["pfs"][0]["functions"][1]["user"], "vm0");
    EXPECT_EQ(as_json()["pfs"][0]["functions"][1]["state"], "invalid");
}

TEST_F(Devices, that_cannot_be_used_say_why_and_what_to_do) {
    auto &functions = inventory.pfs[0].functions;
    functions[0].driver = "vfio-pci";
    functions[1].netdevs = {"enp0v1"};
    functions[1].netdev_claimed = true;
    functions[2].id.controller = 1;
    const std::string all = text();
    EXPECT_THAT(all, HasSubstr(", driver-mismatch\n        "));
    EXPECT_THAT(all, HasSubstr("DPDK needs it bound to mlx5_core: driverctl set-override "
                               "0000:43:00.2 mlx5_core\n"));
    EXPECT_THAT(all, AllOf(HasSubstr(", device-busy\n"), HasSubstr("enp0v1")));
    EXPECT_THAT(all, HasSubstr(", external-controller\n"));
    const json shown = as_json()["pfs"][0]["functions"];
    EXPECT_EQ(shown[0]["reason"], "driver-mismatch");
    EXPECT_EQ(shown[1]["reason"], "device-busy");
    EXPECT_EQ(shown[2]["reason"], "external-controller");
}

TEST_F(Devices, of_a_legacy_pf_have_no_representor_and_it_is_said_how_they_get_one) {
    inventory.pfs[0].eswitch = host::Pf::Eswitch::legacy;
    for (host::Function &function : inventory.pfs[0].functions) {
        function.representor.reset();
    }
    EXPECT_THAT(text(), AllOf(HasSubstr("eswitch legacy"), HasSubstr("vdpa-pfs")));
    EXPECT_EQ(as_json()["pfs"][0]["reason"], "pf-legacy");
    EXPECT_EQ(as_json()["pfs"][0]["functions"][0]["reason"], "pf-legacy");
}

TEST_F(Devices, of_a_pf_whose_eswitch_cannot_be_read_say_why) {
    host::Pf &pf = inventory.pfs[0];
    pf.eswitch_error = "Cannot allocate memory";
    EXPECT_THAT(text(),
                HasSubstr("eswitch switchdev (cannot be read now: Cannot allocate memory)"));
    EXPECT_EQ(as_json()["pfs"][0]["reason"], nullptr) << "it could be once";
    pf.eswitch = host::Pf::Eswitch::unread;
    pf.functions[0].representor.reset();
    EXPECT_THAT(text(),
                AllOf(HasSubstr("eswitch unread (cannot be read now: Cannot allocate memory)"),
                      HasSubstr("asked again")));
    EXPECT_EQ(as_json()["pfs"][0]["reason"], "eswitch-unread");
    EXPECT_EQ(as_json()["pfs"][0]["eswitch_error"], "Cannot allocate memory");
    EXPECT_EQ(as_json()["pfs"][0]["functions"][0]["reason"], "eswitch-unread");
}

TEST_F(Devices, of_a_pf_without_a_driver_say_that_it_needs_one) {
    inventory.pfs[0].eswitch = host::Pf::Eswitch::unsupported;
    inventory.pfs[0].driver.clear();
    EXPECT_THAT(text(), AllOf(HasSubstr("0000:43:00.0: no driver, eswitch none"),
                              HasSubstr(", pf-missing\n    0000:43:00.0: no driver is bound to the "
                                        "PF: load the module that `lspci -k -s 0000:43:00.0`")));
}

TEST_F(Devices, of_a_pf_that_is_to_be_prepared_say_how_that_stands) {
    PfView view;
    view.handle = inventory.pfs[0].handle;
    view.reason = Reason::pf_needs_drain;
    view.detail = "VF 1 is used by vm1";
    PfView missing;
    missing.handle = {"pci", "0000:44:00.0"};
    missing.reason = Reason::pf_missing;
    missing.detail = "there is no such PF";
    host_view.pfs = {view, missing};
    EXPECT_THAT(text(), HasSubstr(", pf-needs-drain\n    VF 1 is used by vm1\n"));
    EXPECT_THAT(text(), HasSubstr("PF 0000:44:00.0, pf-missing\n    there is no such PF\n"));
}

TEST_F(Devices, that_the_kernel_does_not_tell_of_now_are_said_to_be_so) {
    EXPECT_EQ(as_json()["problems"], json::array());
    inventory.problems = {"netdevs cannot be listed: Cannot allocate memory"};
    EXPECT_THAT(text(), HasSubstr("\nproblem: netdevs cannot be listed: Cannot allocate memory\n"));
    EXPECT_EQ(as_json()["problems"], json::array({inventory.problems.front()}));
}

TEST_F(Devices, that_are_no_pf_are_listed_so_that_nobody_looks_for_them) {
    inventory.others = {{"pci", "0000:00:1f.6"}};
    inventory.has_vdpa = false;
    inventory.vdpa_devices[0].path.reset();
    const std::string all = text();
    EXPECT_THAT(all, HasSubstr("device 0000:00:1f.6: neither a PF nor a VF"));
    EXPECT_THAT(all, HasSubstr("the kernel has no vDPA"));
    EXPECT_THAT(all, HasSubstr("vhost_vdpa/bind"));
    inventory.has_vhost_vdpa = false;
    EXPECT_THAT(text(), HasSubstr(", kernel-lacks\n    vDPA device v0: has no character device, "
                                  "because module vhost_vdpa is not loaded"));
}

}  // namespace
}  // namespace vdpa::agent::report
