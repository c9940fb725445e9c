// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/status.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vdpa::agent::report {
namespace {

using schema::Reason;
using schema::State;
using testing::Each;
using testing::Pair;

using Value = std::optional<std::string>;

PortView running_port() {
    PortView view;
    view.name = "vm1";
    view.state = State::running;
    view.mode = "sw";
    view.device = "tap:vm1";
    view.engine = "/run/engine.sock";
    view.socket = "/run/1.sock";
    view.served_socket = "/run/1.sock";
    view.queues = 2;
    view.max_queues = 4;
    return view;
}

TEST(PortStatus, of_a_running_port_has_what_there_is_to_know) {
    const ovs::StatusUpdate update = port_status(running_port());
    EXPECT_EQ(update.interface, "vm1");
    const std::map<std::string, Value> expected = {
        {"vdpa-state", "running"},           {"vdpa-reason", std::nullopt},
        {"vdpa-detail", std::nullopt},       {"vdpa-mode", "sw"},
        {"vdpa-device", "tap:vm1"},          {"vdpa-queues", "2/4"},
        {"vdpa-engine", "/run/engine.sock"}, {"vdpa-served-socket", "/run/1.sock"},
        {"vdpa-function", std::nullopt}};
    EXPECT_EQ(update.keys, expected);
}

TEST(PortStatus, tells_of_a_device_which_function_it_is_and_who_moves_the_packets) {
    PortView view = running_port();
    view.mode = "hw";
    view.device = "0000:43:00.2";
    view.function = "0000:43:00.0,pf0vf0";
    const auto keys = port_status(view).keys;
    EXPECT_EQ(keys.at("vdpa-mode"), "hw");
    EXPECT_EQ(keys.at("vdpa-device"), "0000:43:00.2");
    EXPECT_EQ(keys.at("vdpa-function"), "0000:43:00.0,pf0vf0");
}

TEST(PortStatus, of_an_invalid_row_claims_no_device) {
    PortView view;
    view.name = "vm1";
    view.state = State::invalid;
    view.reason = Reason::bad_socket_path;
    view.detail = "vdpa-socket=x: must be an absolute path";
    const auto keys = port_status(view).keys;
    EXPECT_EQ(keys.at("vdpa-state"), "invalid");
    EXPECT_EQ(keys.at("vdpa-reason"), "bad-socket-path");
    EXPECT_EQ(keys.at("vdpa-detail"), view.detail);
    for (const char *absent : {"vdpa-mode", "vdpa-device", "vdpa-queues", "vdpa-served-socket"}) {
        EXPECT_EQ(keys.at(absent), std::nullopt) << absent;
    }
}

TEST(PortStatus, mentions_every_key_so_that_none_is_left_behind) {
    PortView view;
    view.name = "vm1";
    for (const State state : {State::invalid, State::waiting, State::running}) {
        view.state = state;
        EXPECT_EQ(port_status(view).keys.size(), std::size(schema::interface_status_keys));
    }
}

TEST(PortStatus, of_a_row_that_is_no_port_any_more_is_empty) {
    const ovs::StatusUpdate update = no_port_status("vm1");
    EXPECT_EQ(update.interface, "vm1");
    EXPECT_EQ(update.keys.size(), std::size(schema::interface_status_keys));
    EXPECT_THAT(update.keys, Each(Pair(testing::_, Value())));
}

TEST(HostStatus, tells_whether_an_engine_can_be_used) {
    HostView view;
    view.engines.resize(2);
    view.engines[1].usable = true;
    EXPECT_EQ(host_status(view).keys.at("vdpa-agent-state"), "running");
    view.engines[1].usable = false;
    EXPECT_EQ(host_status(view).keys.at("vdpa-agent-state"), "no-engine");
}

TEST(HostStatus, has_the_fault_of_the_host_and_no_trace_of_it_afterwards) {
    HostView view;
    view.reason = Reason::engine_down;
    view.detail = "no engine at /a";
    EXPECT_EQ(host_status(view).interface, "");
    EXPECT_EQ(host_status(view).keys.at("vdpa-host-reason"), "engine-down");
    EXPECT_EQ(host_status(view).keys.at("vdpa-host-detail"), "no engine at /a");
    view.reason.reset();
    view.detail.clear();
    EXPECT_EQ(host_status(view).keys.at("vdpa-host-reason"), std::nullopt);
    EXPECT_EQ(host_status(view).keys.at("vdpa-host-detail"), std::nullopt);
}

}  // namespace
}  // namespace vdpa::agent::report
