// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/post.hpp>

#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/* Ports on VFs and on kernel vDPA devices. That no engine is told of a device that another port
 * has, and that no representor is given to two, is checked at the end of every test. */
class Devices : public Stack {
  protected:
    void start_with(uint32_t vfs) {
        host.add_pf(vfs);
        start();
    }
};

TEST_F(Devices, a_vf_named_by_its_address_serves_and_its_representor_gets_the_port_s_name) {
    start_with(2);
    set_vf("vm1", 1);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.3");
    EXPECT_EQ(host.netdev(1), "vm1");
    EXPECT_TRUE(host.vf(1).representor->up);
    EXPECT_EQ(status("vm1", "vdpa-mode"), "hw");
    EXPECT_EQ(status("vm1", "vdpa-device"), "0000:43:00.3");
    EXPECT_EQ(function("vm1"), "0000:43:00.0,pf0vf1");
    EXPECT_EQ(served("vm1"), "/run/vm1.sock");
    EXPECT_FALSE(netdevs.has("vm1"));
}

TEST_F(Devices, devargs_are_handed_to_the_engine_as_they_are) {
    start_with(1);
    set("vm1", on("/run/1.sock", "0000:43:00.2,class=vdpa,event_mode=1"));
    settle();
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2,class=vdpa,event_mode=1");
}

TEST_F(Devices, a_vf_may_be_named_by_its_representor) {
    start_with(2);
    set("vm1", on("/run/1.sock", "", "0000:43:00.0,vf1"));
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.3");
}

TEST_F(Devices, a_port_may_be_named_as_the_representor_is) {
    start_with(2);
    set("eth1", on("/run/1.sock"));
    settle();
    EXPECT_EQ(state("eth1"), "listening");
    EXPECT_EQ(engine.device_of("eth1"), "0000:43:00.3");
    EXPECT_EQ(host.netdev(1), "eth1");
}

TEST_F(Devices, a_row_that_says_nothing_of_a_device_is_invalid_and_never_falls_back) {
    start_with(1);
    set("vm1", on("/run/1.sock"));
    settle();
    EXPECT_EQ(state("vm1"), "invalid");
    EXPECT_EQ(reason("vm1"), "no-device");
    EXPECT_FALSE(netdevs.has("vm1"));
    EXPECT_FALSE(engine.has("vm1"));
}

TEST_F(Devices, the_mac_address_and_the_mtu_of_the_row_are_those_of_the_function) {
    start_with(1);
    auto options = on("/run/1.sock", "0000:43:00.2");
    options["vdpa-vf-mac"] = "02:aa:00:00:00:01";
    set("vm1", options);
    settle();
    EXPECT_EQ(host.vf(0).mac, "02:aa:00:00:00:01");
    options["vdpa-vf-mac"] = "02:aa:00:00:00:02";
    set("vm1", options);
    settle();
    EXPECT_EQ(host.vf(0).mac, "02:aa:00:00:00:02");
    EXPECT_EQ(engine.count("apply vm1"), 1U) << "the guest is not disturbed";
}

TEST_F(Devices, a_row_before_its_vf_waits_and_says_for_what) {
    start();
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "device-missing");
    EXPECT_THAT(detail("vm1"), HasSubstr("0000:43:00.2"));
    host.add_pf(1);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Devices, a_vf_that_vanishes_is_let_go_of_and_taken_again_when_it_is_back) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    host.take_vf(0);
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "device-missing");
    EXPECT_EQ(served("vm1"), "");
    EXPECT_FALSE(engine.serves("vm1"));
    host.put_vf(0);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.2");
    EXPECT_EQ(engine.count("apply vm2"), 1U);
    EXPECT_EQ(host.count("ensure vm2"), 1U);
}

TEST_F(Devices, all_that_vanish_and_are_back_at_once_are_taken_anew) {
    start_with(3);
    for (uint32_t i = 0; i < 3; i++) {
        set_vf("vm" + std::to_string(i), i);
    }
    settle();
    const host::Inventory before = host.inventory;
    host.change([this] { host.inventory.pfs.clear(); });
    settle();
    EXPECT_EQ(state("vm2"), "waiting");
    host.add_pf(3);
    settle();
    for (uint32_t i = 0; i < 3; i++) {
        EXPECT_EQ(state("vm" + std::to_string(i)), "listening");
        EXPECT_EQ(host.netdev(i), "vm" + std::to_string(i));
    }
}

TEST_F(Devices, a_row_that_goes_gives_its_vf_back) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    const std::string mac = host.vf(0).mac;
    remove("vm1");
    settle();
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_FALSE(host.vf(0).representor->up);
    EXPECT_NE(host.vf(0).mac, mac);
    EXPECT_THAT(host.record, IsEmpty());
    EXPECT_FALSE(engine.has("vm1"));
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(Devices, the_agent_that_comes_after_finds_everything_and_disturbs_nothing) {
    start_with(2);
    set_vf("vm1", 0);
    set_vf("vm2", 1);
    settle();
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply"), 2U);
    EXPECT_EQ(engine.count("remove"), 0U);
    EXPECT_EQ(host.count("release"), 0U);
}

TEST_F(Devices, the_agent_that_comes_after_gives_back_what_no_row_names) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    start_agent();
    remove("vm1");
    open_database();
    engine.connect();
    host.switch_looks();
    settle();
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_THAT(host.record, IsEmpty());
    EXPECT_FALSE(engine.has("vm1"));
}

TEST_F(Devices, the_agent_that_comes_after_follows_a_row_that_has_changed_its_vf) {
    start_with(2);
    set_vf("vm1", 0);
    settle();
    start_agent();
    set_vf("vm1", 1);
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "0000:43:00.3");
    EXPECT_EQ(host.netdev(0), "eth0");
    EXPECT_EQ(host.netdev(1), "vm1");
}

TEST_F(Devices, nothing_is_done_before_the_host_is_known) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    start_agent();
    settle();  // the host is told of
    agent.reset();
    start_agent();
    host.attach([](const std::shared_ptr<const host::Inventory> &) {});
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(engine.count("remove"), 0U);
    EXPECT_EQ(state("vm1"), "listening") << "the row says what it said";
}

TEST_F(Devices, a_driver_that_does_not_fit_is_named_with_the_one_that_does) {
    start_with(1);
    host.change([this] { host.vf(0).driver = "vfio-pci"; });
    set_vf("vm1", 0);
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "driver-mismatch");
    EXPECT_THAT(detail("vm1"), AllOf(HasSubstr("vfio-pci"), HasSubstr("mlx5_core")));
    EXPECT_FALSE(engine.has("vm1"));
    host.change([this] { host.vf(0).driver = "mlx5_core"; });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(Devices, an_engine_that_is_restarted_is_told_of_the_devices_again) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    engine.die();
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "engine-down");
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(host.count("ensure vm1"), 1U);
    EXPECT_EQ(host.count("release"), 0U);
}

TEST_F(Devices, a_guest_that_sees_another_mac_address_or_mtu_than_the_row_s_is_told_of) {
    start_with(1);
    auto options = on("/run/1.sock", "0000:43:00.2");
    options["vdpa-vf-mac"] = "02:aa:00:00:00:01";
    set("vm1", options);
    settle();
    engine.change("vm1", [](schema::PortStatus &status) {
        status.device_mac = "02:bb:00:00:00:01";
        status.device_queues = 4;
        status.doorbell = "mapped";
    });
    settle();
    EXPECT_EQ(reason("vm1"), "guest-differs");
    EXPECT_THAT(detail("vm1"), AllOf(HasSubstr("02:aa"), HasSubstr("02:bb")));
    EXPECT_EQ(board->port("vm1")->doorbell, "mapped");
    EXPECT_EQ(board->port("vm1")->device_queues, 4U);
    engine.change("vm1",
                  [](schema::PortStatus &status) { status.device_mac = "02:aa:00:00:00:01"; });
    settle();
    EXPECT_EQ(reason("vm1"), "");
}

TEST_F(Devices, a_device_that_fails_while_it_serves_is_told_with_its_reason) {
    start_with(1);
    set_vf("vm1", 0);
    settle();
    engine.change("vm1", [](schema::PortStatus &status) {
        status.state = schema::PortState::connected;
        status.reason = "device-failed";
        status.detail = "dev_conf failed";
    });
    settle();
    EXPECT_EQ(state("vm1"), "failed");
    EXPECT_EQ(reason("vm1"), "device-failed");
    EXPECT_EQ(detail("vm1"), "dev_conf failed");
    EXPECT_EQ(served("vm1"), "/run/vm1.sock");
}

TEST_F(Devices, conditions_say_how_far_a_port_has_come) {
    start_with(1);
    engine.die();
    set_vf("vm1", 0);
    settle();
    const auto holds = [this](report::Condition condition) {
        return board->port("vm1")->conditions.at(static_cast<size_t>(condition)).holds;
    };
    EXPECT_EQ(holds(report::Condition::netdev), true);
    EXPECT_EQ(holds(report::Condition::device), true);
    EXPECT_EQ(holds(report::Condition::engine), false);
    EXPECT_EQ(holds(report::Condition::opened), false);
    engine.connect();
    settle();
    EXPECT_EQ(holds(report::Condition::socket), true);
    EXPECT_EQ(holds(report::Condition::front_end), false);
    const auto since =
        board->port("vm1")->conditions.at(static_cast<size_t>(report::Condition::netdev)).since;
    engine.change("vm1",
                  [](schema::PortStatus &status) { status.state = schema::PortState::running; });
    settle();
    EXPECT_EQ(holds(report::Condition::running), true);
    EXPECT_EQ(
        board->port("vm1")->conditions.at(static_cast<size_t>(report::Condition::netdev)).since,
        since);
}

TEST_F(Devices, hundreds_of_ports_in_one_transaction_are_served_with_one_act_each) {
    start();
    constexpr uint32_t many = 128;
    host.add_netdevsim();
    host.add_management("vdpasim_net");
    set_other_config({{"vdpa-pfs", "netdevsim/netdevsim10,num-vfs=128"}});
    in_one_transaction([this] {
        for (uint32_t i = 0; i < many; i++) {
            const std::string number = std::to_string(i);
            set("vm" + number,
                on("/run/" + number, "vdpa:vdpasim_net", "netdevsim/netdevsim10,vf" + number));
        }
    });
    settle();
    for (uint32_t i = 0; i < many; i++) {
        EXPECT_EQ(state("vm" + std::to_string(i)), "listening");
        EXPECT_EQ(host.netdev(i), "vm" + std::to_string(i));
    }
    EXPECT_EQ(host.count("ensure"), many);
    EXPECT_EQ(host.count("make"), many);
    EXPECT_EQ(engine.count("apply"), many);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
