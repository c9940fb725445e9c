// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/show.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::agent::report {
namespace {

using nlohmann::json;
using schema::Reason;
using schema::State;
using testing::HasSubstr;
using testing::Not;

class Show : public testing::Test {
  protected:
    Show() {
        host.database = {true, true, false, "unix:db.sock"};
        host.has_snapshot = true;
        EngineView engine;
        engine.path = "/run/engine.sock";
        engine.usable = true;
        engine.pid = 42;
        engine.version = "0.1.0";
        engine.ports = 1;
        host.engines = {engine};
        port.name = "vm1";
        port.bridge = "br0";
        port.state = State::running;
        port.device = "tap:vm1";
        port.engine = "/run/engine.sock";
        port.socket = "/run/1.sock";
        port.socket_mode = "server";
        port.served_socket = "/run/1.sock";
        port.queues = 1;
        port.max_queues = 4;
        port.connections = 2;
        port.features = {"VIRTIO_F_VERSION_1", "VIRTIO_NET_F_MQ"};
        port.since = std::chrono::system_clock::time_point(std::chrono::seconds(86'400));
    }
    Board::Ports ports() const { return {{port.name, std::make_shared<const PortView>(port)}}; }

    HostView host;
    PortView port;
};

TEST_F(Show, as_text_has_the_host_and_its_ports) {
    EXPECT_EQ(show_text(host, ports(), true),
              "unix:db.sock: connected\n"
              "engine /run/engine.sock: pid 42, version 0.1.0, 1 port\n"
              "\n"
              "vm1: running, since 1970-01-02T00:00:00Z\n"
              "    bridge: br0\n"
              "    socket: /run/1.sock (server)\n"
              "    device: tap:vm1\n"
              "    engine: /run/engine.sock\n"
              "    queue pairs: 1 of 4\n"
              "    connections: 2\n"
              "    features: VIRTIO_F_VERSION_1 VIRTIO_NET_F_MQ\n");
}

TEST_F(Show, as_text_of_one_port_has_that_port_alone) {
    const std::string text = show_text(host, ports(), false);
    EXPECT_TRUE(text.starts_with("vm1: running")) << text;
    EXPECT_THAT(text, Not(HasSubstr("unix:db.sock")));
}

TEST_F(Show, as_text_without_ports_has_no_port) {
    EXPECT_EQ(show_text(host, {}, true),
              "unix:db.sock: connected\n"
              "engine /run/engine.sock: pid 42, version 0.1.0, 1 port\n");
    EXPECT_EQ(show_text(host, {}, false), "");
}

TEST_F(Show, as_text_tells_what_is_wrong) {
    port.state = State::invalid;
    port.reason = Reason::bad_max_queues;
    port.detail = "vdpa-max-queues=0: must be a whole number from 1 to 128";
    host.reason = Reason::engine_down;
    host.detail = "no engine at /run/engine.sock";
    host.engines[0].usable = false;
    host.engines[0].problem = "no engine at /run/engine.sock";
    const std::string text = show_text(host, ports(), true);
    EXPECT_THAT(text, HasSubstr("engine /run/engine.sock: not usable (no engine at "
                                "/run/engine.sock)\n"));
    EXPECT_THAT(text, HasSubstr("engine-down: no engine at /run/engine.sock\n"));
    EXPECT_THAT(text, HasSubstr("vm1: invalid (bad-max-queues), since"));
    EXPECT_THAT(text, HasSubstr("    detail: vdpa-max-queues=0: must be"));
}

TEST_F(Show, as_text_tells_what_is_wrong_with_a_pf_once) {
    PfView pf;
    pf.handle = {"pci", "0000:43:00.0"};
    pf.num_vfs = 8;
    pf.reason = host.reason = Reason::pf_missing;
    pf.detail = host.detail = "0000:43:00.0: there is no such device; see `lspci -D`";
    host.pfs = {pf};
    EXPECT_EQ(show_text(host, {}, true),
              "unix:db.sock: connected\n"
              "engine /run/engine.sock: pid 42, version 0.1.0, 1 port\n"
              "PF 0000:43:00.0: 8 VFs asked for, pf-missing: 0000:43:00.0: there is no such "
              "device; see `lspci -D`\n");
}

TEST_F(Show, as_json_has_the_same_for_programs) {
    port.reason = Reason::offloads_withheld;
    const json shown = json::parse(show_json(host, ports()));
    EXPECT_EQ(shown["database"]["remote"], "unix:db.sock");
    EXPECT_EQ(shown["database"]["connected"], true);
    EXPECT_EQ(shown["engines"][0]["pid"], 42);
    EXPECT_EQ(shown["reason"], nullptr);
    const json &one = shown["ports"][0];
    EXPECT_EQ(one["name"], "vm1");
    EXPECT_EQ(one["state"], "running");
    EXPECT_EQ(one["reason"], "offloads-withheld");
    EXPECT_EQ(one["served_socket"], "/run/1.sock");
    EXPECT_EQ(one["max_queues"], 4);
    EXPECT_EQ(one["features"], (json{"VIRTIO_F_VERSION_1", "VIRTIO_NET_F_MQ"}));
    EXPECT_EQ(one["since"], "1970-01-02T00:00:00Z");
}

TEST_F(Show, as_json_has_null_for_what_is_not_there) {
    port.served_socket.reset();
    const json shown = json::parse(show_json(host, ports()));
    EXPECT_EQ(shown["ports"][0]["served_socket"], nullptr);
    EXPECT_EQ(shown["ports"][0]["reason"], nullptr);
}

TEST_F(Show, as_json_is_json_whatever_the_strings_hold) {
    port.detail = "broken \xff\xfe \"quoted\"\n";
    EXPECT_TRUE(json::accept(show_json(host, ports())));
}

TEST_F(Show, tells_how_it_stands_with_the_database) {
    EXPECT_EQ(connection_text(host), "unix:db.sock: connected");
    host.database.lock_held = false;
    EXPECT_THAT(connection_text(host), HasSubstr("asking for the lock"));
    host.database.lock_contended = true;
    EXPECT_THAT(connection_text(host), HasSubstr("another ovs-vdpa-agent holds"));
    host.database.connected = false;
    host.has_snapshot = false;
    EXPECT_EQ(connection_text(host), "unix:db.sock: not connected; nothing read yet");
}

TEST_F(Show, as_text_tells_of_a_device_what_is_known) {
    port.mode = "hw";
    port.device = "0000:43:00.2";
    port.function = "0000:43:00.0,pf0vf0";
    port.offered = {"mq", "ring_packed"};
    port.withheld = {"log_all"};
    port.device_queues = 16;
    port.doorbell = "mapped";
    port.device_mac = "02:00:00:00:00:01";
    port.device_mtu = 9000;
    port.stall_ms = 12;
    const std::string text = show_text(host, ports(), false);
    for (const char *line :
         {"    mode: hw\n", "    device: 0000:43:00.2\n", "    function: 0000:43:00.0,pf0vf0\n",
          "    offered: mq ring_packed\n", "    withheld: log_all\n",
          "    queue pairs of the device: 16\n", "    doorbell: mapped\n",
          "    MAC address of the device: 02:00:00:00:00:01\n", "    MTU of the device: 9000\n",
          "    longest stall of other ports: 12 ms\n"}) {
        EXPECT_THAT(text, HasSubstr(line));
    }
    const json shown = json::parse(show_json(host, ports()))["ports"][0];
    EXPECT_EQ(shown["mode"], "hw");
    EXPECT_EQ(shown["function"], "0000:43:00.0,pf0vf0");
    EXPECT_EQ(shown["withheld"], (json{"log_all"}));
    EXPECT_EQ(shown["device_queues"], 16);
    EXPECT_EQ(shown["doorbell"], "mapped");
    EXPECT_EQ(shown["device_mac"], "02:00:00:00:00:01");
    EXPECT_EQ(shown["device_mtu"], 9000);
    EXPECT_EQ(shown["stall_ms"], 12);
}

TEST_F(Show, tells_how_the_preparation_of_pfs_stands) {
    PfView ready;
    ready.handle = {"pci", "0000:43:00.0"};
    ready.num_vfs = 8;
    PfView held;
    held.handle = {"pci", "0000:43:00.1"};
    held.reason = Reason::pf_needs_drain;
    held.detail = "in use by vm1";
    host.pfs = {ready, held};
    const std::string text = show_text(host, {}, true);
    EXPECT_THAT(text, HasSubstr("PF 0000:43:00.0: 8 VFs asked for, prepared\n"));
    EXPECT_THAT(text, HasSubstr("PF 0000:43:00.1: pf-needs-drain: in use by vm1\n"));
    const json shown = json::parse(show_json(host, {}))["pfs"];
    ASSERT_EQ(shown.size(), 2U);
    EXPECT_EQ(shown[0]["num_vfs"], 8);
    EXPECT_EQ(shown[0]["reason"], nullptr);
    EXPECT_EQ(shown[1]["num_vfs"], nullptr);
    EXPECT_EQ(shown[1]["reason"], "pf-needs-drain");
}

}  // namespace
}  // namespace vdpa::agent::report
