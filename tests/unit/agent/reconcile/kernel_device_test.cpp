// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/* Ports on kernel vDPA devices behind representors of a simulated PF. */
class KernelDevices : public Stack {
  protected:
    void start_with(uint32_t vfs) {
        host::Pf &pf = host.add_netdevsim();
        (void)pf;
        host.add_management("vdpasim_net");
        set_other_config({{"vdpa-pfs", "netdevsim/netdevsim10,num-vfs=" + std::to_string(vfs)}});
        start();
    }
    void set_on(const std::string &name, const std::string &device, uint32_t vf) {
        set(name,
            on("/run/" + name + ".sock", device, "netdevsim/netdevsim10,vf" + std::to_string(vf)));
    }
};

TEST_F(KernelDevices, that_is_given_serves_the_port) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "vdpa:v0", 0);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "/dev/vhost-vdpa-3");
    EXPECT_EQ(status("vm1", "vdpa-mode"), "kernel");
    EXPECT_EQ(status("vm1", "vdpa-device"), "/dev/vhost-vdpa-3");
    EXPECT_EQ(host.netdev(0), "vm1");
    remove("vm1");
    settle();
    EXPECT_EQ(host.inventory.vdpa_devices.size(), 1U) << "it is not ours";
}

TEST_F(KernelDevices, that_is_given_by_its_path_serves_the_port) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "/dev/vhost-vdpa-3", 0);
    settle();
    EXPECT_EQ(engine.device_of("vm1"), "/dev/vhost-vdpa-3");
}

TEST_F(KernelDevices, of_a_management_device_is_made_for_the_port_and_removed_with_it) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    ASSERT_EQ(host.inventory.vdpa_devices.size(), 1U);
    EXPECT_EQ(host.inventory.vdpa_devices[0].name, "vm1");
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), *host.inventory.vdpa_devices[0].path);
    remove("vm1");
    settle();
    EXPECT_THAT(host.inventory.vdpa_devices, IsEmpty());
    EXPECT_THAT(host.vdpa_record, IsEmpty());
    EXPECT_THAT(board->ports(), IsEmpty());
}

TEST_F(KernelDevices, of_one_management_device_are_made_for_each_port) {
    start_with(2);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    set_on("vm2", "vdpa:vdpasim_net", 1);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(state("vm2"), "listening");
    EXPECT_EQ(host.inventory.vdpa_devices.size(), 2U);
}

TEST_F(KernelDevices, that_is_made_is_adopted_by_the_agent_that_comes_after) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    start_agent();
    open_database();
    engine.connect();
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.count("apply"), 1U);
    EXPECT_EQ(engine.count("remove"), 0U);
    EXPECT_EQ(host.count("unmake"), 0U);
}

TEST_F(KernelDevices, that_nobody_names_any_more_is_removed_by_the_agent_that_comes_after) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    start_agent();
    remove("vm1");
    open_database();
    engine.connect();
    host.switch_looks();
    settle();
    EXPECT_THAT(host.inventory.vdpa_devices, IsEmpty());
    EXPECT_THAT(host.record, IsEmpty());
}

TEST_F(KernelDevices, that_is_made_and_removed_by_hand_is_made_again) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    host.remove_vdpa_by_hand("vm1");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    ASSERT_EQ(host.inventory.vdpa_devices.size(), 1U);
    EXPECT_EQ(engine.device_of("vm1"), *host.inventory.vdpa_devices[0].path);
}

TEST_F(KernelDevices, that_is_given_and_removed_makes_the_port_wait) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "vdpa:v0", 0);
    settle();
    host.remove_vdpa_by_hand("v0");
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_EQ(reason("vm1"), "device-missing");
    EXPECT_FALSE(engine.has("vm1"));
    host.add_vdpa("v0", "/dev/vhost-vdpa-4");
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "/dev/vhost-vdpa-4");
}

TEST_F(KernelDevices, whose_news_come_late_is_not_made_twice) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    host.auto_publish = false;
    settle();
    host.publish();
    settle();
    host.publish();
    settle();
    host.publish();
    settle();
    host.auto_publish = true;
    host.publish();
    settle();
    EXPECT_EQ(state("vm1"), "listening") << detail("vm1");
    EXPECT_EQ(host.count("make vm1"), 1U);
    EXPECT_EQ(engine.count("apply"), 1U);
}

TEST_F(KernelDevices, that_is_made_has_the_mtu_that_the_switch_tells_in_time) {
    mtu_patience = std::chrono::hours(1);
    backoff = quick_retries;
    start_with(1);
    settle();
    set_on("vm1", "vdpa:vdpasim_net", 0);
    EXPECT_TRUE(until([this] { return state("vm1") == "provisioning"; }));
    settle();
    EXPECT_EQ(host.count("make"), 0U);
    set_mtu("vm1", 9000);
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
    EXPECT_EQ(host.inventory.vdpa_devices[0].mtu, 9000);
}

TEST_F(KernelDevices, that_is_made_does_not_wait_for_the_mtu_for_ever) {
    mtu_patience = std::chrono::milliseconds(20);
    backoff = quick_retries;
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
    set_mtu("vm1", 1500);
    settle();
    EXPECT_EQ(host.count("make vm1"), 1U) << "the guest is not disturbed";
}

TEST_F(KernelDevices, that_is_made_is_asked_for_again_with_another_mac_address) {
    start_with(1);
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    auto options = on("/run/vm1.sock", "vdpa:vdpasim_net", "netdevsim/netdevsim10,vf0");
    options["vdpa-vf-mac"] = "02:aa:00:00:00:01";
    set("vm1", options);
    settle();
    EXPECT_EQ(host.count("make vm1"), 2U);
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(reason("vm1"), "guest-differs") << "what the service notes";
}

TEST_F(KernelDevices, that_is_not_bound_to_vhost_vdpa_is_waited_for) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    host.change([this] { host.inventory.vdpa_devices[0].path.reset(); });
    set_on("vm1", "vdpa:v0", 0);
    settle();
    EXPECT_EQ(state("vm1"), "waiting");
    EXPECT_THAT(detail("vm1"), HasSubstr("vhost_vdpa"));
    host.change([this] { host.inventory.vdpa_devices[0].path = "/dev/vhost-vdpa-3"; });
    settle();
    EXPECT_EQ(state("vm1"), "listening");
}

TEST_F(KernelDevices, whose_modules_come_one_by_one_say_what_is_missing_now) {
    backoff = {std::chrono::hours(1), std::chrono::hours(1)};
    host.add_netdevsim();
    set_other_config({{"vdpa-pfs", "netdevsim/netdevsim10,num-vfs=2"}});
    start();
    set_on("vm1", "vdpa:vdpasim_net", 0);
    set_on("vm2", "/dev/vhost-vdpa-3", 1);
    settle();
    for (const char *name : {"vm1", "vm2"}) {
        EXPECT_EQ(reason(name), "kernel-lacks");
        EXPECT_THAT(detail(name), HasSubstr("modules vdpa and vhost_vdpa"));
    }
    host.change([this] { host.inventory.has_vdpa = true; });
    settle();
    EXPECT_EQ(reason("vm1"), "device-missing") << "there is no simulator yet";
    EXPECT_EQ(reason("vm2"), "kernel-lacks");
    EXPECT_THAT(detail("vm2"), HasSubstr("modprobe vhost_vdpa"));
    host.change([this] { host.inventory.has_vhost_vdpa = true; });
    settle();
    EXPECT_EQ(reason("vm2"), "device-missing");
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    settle();
    EXPECT_EQ(state("vm2"), "listening");
}

TEST_F(KernelDevices, that_could_not_be_made_for_want_of_a_module_is_made_when_it_comes) {
    backoff = {std::chrono::hours(1), std::chrono::hours(1)};
    start_with(1);
    settle();
    host.change([this] { host.inventory.has_vhost_vdpa = false; });
    Error error{schema::Reason::kernel_lacks, "no vhost_vdpa"};
    // Once the representor is there, or it would be that which fails.
    host.ensure_error = [this, &error](const std::string & /*name*/) {
        return host.netdev(0) == "vm1" ? std::optional(error) : std::nullopt;
    };
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    EXPECT_EQ(reason("vm1"), "kernel-lacks");
    error = {schema::Reason::vdpa_failed, "it cannot be bound"};
    host.change([this] { host.inventory.has_vhost_vdpa = true; });
    settle();
    EXPECT_EQ(reason("vm1"), "vdpa-failed") << "what is missing now";
}

TEST_F(KernelDevices, that_cannot_be_made_is_told_and_tried_again) {
    backoff = quick_retries;
    start_with(1);
    settle();
    host.ensure_error = [](const std::string &name) {
        return name == "vm1" ? std::optional(Error{schema::Reason::vdpa_failed, "no"})
                             : std::nullopt;
    };
    set_on("vm1", "vdpa:vdpasim_net", 0);
    EXPECT_TRUE(until([this] { return state("vm1") == "failed"; }));
    host.ensure_error = nullptr;
    EXPECT_TRUE(until([this] { return state("vm1") == "listening"; }));
}

TEST_F(KernelDevices, that_two_rows_name_goes_to_one) {
    start_with(2);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm2", "vdpa:v0", 1);
    settle();
    set_on("vm1", "/dev/vhost-vdpa-3", 0);
    settle();
    EXPECT_EQ(reason("vm1"), "duplicate-device");
    EXPECT_EQ(state("vm2"), "listening");
}

TEST_F(KernelDevices, a_function_without_a_device_has_its_representor_and_says_what_is_missing) {
    start_with(1);
    set("vm1", on("/run/1.sock", "", "netdevsim/netdevsim10,vf0"));
    settle();
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(reason("vm1"), "no-device");
    EXPECT_THAT(detail("vm1"), HasSubstr("vdpa-accelerator-devargs"));
}

TEST_F(KernelDevices, change_from_one_that_is_made_to_one_that_is_given) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "vdpa:vdpasim_net", 0);
    settle();
    set_on("vm1", "vdpa:v0", 0);
    settle();
    EXPECT_EQ(state("vm1"), "listening");
    EXPECT_EQ(engine.device_of("vm1"), "/dev/vhost-vdpa-3");
    ASSERT_EQ(host.inventory.vdpa_devices.size(), 1U);
    EXPECT_EQ(host.inventory.vdpa_devices[0].name, "v0");
    EXPECT_EQ(host.netdev(0), "vm1");
    EXPECT_EQ(host.count("release"), 0U) << "the representor stays what it is";
}

TEST_F(KernelDevices, counters_are_those_of_the_engine_and_of_the_kernel) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "vdpa:v0", 0);
    settle();
    std::optional<Expected<report::StatsView>> first;
    std::optional<Expected<report::StatsView>> second;
    agent->stats("vm1", false, [&first](const auto &stats) { first = stats; });
    settle();
    agent->stats("vm1", false, [&second](const auto &stats) { second = stats; });
    settle();
    ASSERT_TRUE(first && *first && second && *second);
    const report::PortCounters expected = {{0, {{"packets", 3}, {"received_desc", 5}}}};
    EXPECT_EQ((*first)->now, expected);
    EXPECT_EQ((*first)->interval.count(), 0);
    EXPECT_EQ((*second)->before, expected);
    EXPECT_GT((*second)->interval.count(), 0);
    EXPECT_EQ(host.count("stats v0"), 2U);
}

TEST_F(KernelDevices, counters_of_a_port_that_went_meanwhile_are_not_kept_for_the_next) {
    start_with(1);
    set("vm1", sw("/run/1.sock"));
    settle();
    engine.hold_answers();
    std::optional<Expected<report::StatsView>> late;
    agent->stats("vm1", false, [&late](const auto &answer) { late = answer; });
    remove("vm1");
    settle();
    ASSERT_FALSE(engine.has("vm1"));
    ASSERT_FALSE(late);
    engine.let_answers_go();
    settle();
    ASSERT_TRUE(late && *late);
    set("vm1", sw("/run/1.sock"));
    settle();
    std::optional<Expected<report::StatsView>> next;
    agent->stats("vm1", false, [&next](const auto &answer) { next = answer; });
    settle();
    ASSERT_TRUE(next && *next);
    EXPECT_EQ((*next)->interval.count(), 0) << "nobody has asked for those of this port before";
}

TEST_F(KernelDevices, counters_begin_at_0_again_after_they_were_reset) {
    start_with(1);
    host.add_vdpa("v0", "/dev/vhost-vdpa-3");
    set_on("vm1", "vdpa:v0", 0);
    settle();
    std::optional<Expected<report::StatsView>> stats;
    agent->stats("vm1", true, [&stats](const auto &answer) { stats = answer; });
    settle();
    ASSERT_TRUE(stats && *stats);
    EXPECT_EQ((*stats)->now.at(0).at("received_desc"), 5U) << "what they were";
    EXPECT_EQ(engine.count("reset_stats vm1"), 1U);
    agent->stats("vm1", false, [&stats](const auto &answer) { stats = answer; });
    settle();
    EXPECT_EQ((*stats)->now.at(0).at("received_desc"), 0U);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
