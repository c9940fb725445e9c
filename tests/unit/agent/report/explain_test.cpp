// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::agent::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

/* A port whose conditions hold up to one that does not. */
class Explain : public testing::Test {
  protected:
    Explain() {
        port.name = "vm1";
        port.state = schema::State::waiting;
        port.reason = schema::Reason::driver_mismatch;
        port.detail = "VF 0000:43:00.2 is bound to vfio-pci";
        port.mode = "hw";
        port.function = "0000:43:00.0,pf0vf0";
        port.socket = "/run/1.sock";
        for (ConditionView &condition : port.conditions) {
            condition.since = std::chrono::system_clock::time_point(std::chrono::seconds(86'400));
        }
        set(Condition::config, true);
        set(Condition::pf, true);
        set(Condition::function, true);
        set(Condition::netdev, true);
        set(Condition::device, false);
    }
    void set(Condition condition, bool holds) {
        port.conditions.at(static_cast<size_t>(condition)).holds = holds;
    }

    PortView port;
};

TEST_F(Explain, names_the_conditions_in_order_and_the_reason_at_the_one_that_does_not_hold) {
    EXPECT_EQ(
        explain_text(port),
        "vm1: waiting (driver-mismatch), since 1970-01-01T00:00:00Z\n"
        "    yes  the row can be served, and no other row is in its way, since "
        "1970-01-02T00:00:00Z\n"
        "    yes  the PF is there, its eswitch in switchdev mode, since 1970-01-02T00:00:00Z\n"
        "    yes  0000:43:00.0,pf0vf0 is there, since 1970-01-02T00:00:00Z\n"
        "    yes  the representor of 0000:43:00.0,pf0vf0 has the port's name and is up, MAC "
        "address and MTU are set, since 1970-01-02T00:00:00Z\n"
        "    no   the device can serve queues, since 1970-01-02T00:00:00Z\n"
        "         VF 0000:43:00.2 is bound to vfio-pci\n"
        "    ?    an engine can be used\n"
        "    ?    the engine has taken over the settings and opened the device\n"
        "    ?    the socket is served: /run/1.sock\n"
        "    ?    a front-end is connected\n"
        "    ?    the guest's queues are served\n");
}

TEST_F(Explain, of_an_emulated_vf_leaves_out_what_it_has_no_use_for) {
    port.mode = "sw";
    port.function.clear();
    const std::string text = explain_text(port);
    EXPECT_THAT(text, HasSubstr("TAP netdev vm1 is there"));
    EXPECT_THAT(text, Not(HasSubstr("switchdev")));
    EXPECT_THAT(text, Not(HasSubstr("can serve queues")));
}

TEST_F(Explain, of_an_invalid_row_of_an_emulated_vf_leaves_that_out_too) {
    port.mode.clear();
    port.function.clear();
    port.is_emulated = true;
    EXPECT_THAT(explain_text(port), Not(HasSubstr("switchdev")));
    EXPECT_THAT(explain_json(port), Not(HasSubstr("\"function\"")));
    EXPECT_THAT(explain_json(port), HasSubstr("\"netdev\""));
}

TEST_F(Explain, of_a_port_that_lacks_nothing_ends_with_what_there_is_to_know) {
    for (size_t i = 0; i < n_conditions; i++) {
        set(static_cast<Condition>(i), true);
    }
    port.state = schema::State::running;
    port.detail = "offloads are withheld";
    const std::string text = explain_text(port);
    EXPECT_THAT(text, Not(HasSubstr("    no ")));
    EXPECT_TRUE(text.ends_with("    note: offloads are withheld\n")) << text;
}

TEST_F(Explain, of_a_port_that_waits_for_its_guest_alone_does_not_give_a_note_as_the_cause) {
    for (size_t i = 0; i < n_conditions; i++) {
        set(static_cast<Condition>(i), static_cast<Condition>(i) < Condition::front_end);
    }
    port.state = schema::State::listening;
    port.reason = schema::Reason::offloads_withheld;
    port.detail = "offloads are withheld";
    const std::string text = explain_text(port);
    EXPECT_THAT(text, HasSubstr("    no   a front-end is connected, since 1970-01-02T00:00:00Z\n"
                                "    no   the guest's queues are served, since "
                                "1970-01-02T00:00:00Z\n"));
    EXPECT_TRUE(text.ends_with("    note: offloads are withheld\n")) << text;
}

TEST_F(Explain, of_a_port_in_client_mode_says_that_the_engine_connects) {
    port.socket_mode = "client";
    EXPECT_THAT(explain_text(port),
                HasSubstr("the engine connects to the front-end's socket: /run/1.sock"));
}

TEST_F(Explain, as_json_has_the_same_for_programs) {
    const json shown = json::parse(explain_json(port));
    EXPECT_EQ(shown["state"], "waiting");
    ASSERT_EQ(shown["conditions"].size(), n_conditions);
    EXPECT_EQ(shown["conditions"][4]["condition"], "device");
    EXPECT_EQ(shown["conditions"][4]["holds"], false);
    EXPECT_EQ(shown["conditions"][5]["holds"], nullptr);
    EXPECT_EQ(shown["conditions"][0]["since"], "1970-01-02T00:00:00Z");
}

}  // namespace
}  // namespace vdpa::agent::report
