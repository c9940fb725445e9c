// SPDX-License-Identifier: Apache-2.0
#include <linux/if.h>

#include "ovs-vdpa-agent/host/representors.hpp"
#include "tests/unit/agent/host/kill_before_call.hpp"
#include "tests/unit/agent/host/representor_fixture.hpp"

namespace vdpa::agent::host {
namespace {

constexpr const char *guest_mac = "02:00:00:00:00:01";
constexpr const char *other_mac = "02:00:00:00:00:02";

class RepresentorCrashTest : public RepresentorTest {
  protected:
    /* Whatever was done to a VF's MAC address or its netdev's name is in the record. */
    void expect_recorded(const RepresentorSpec &spec, const std::string &own_name, int calls) {
        bool is_recorded = false;
        OwnedFile record(folder.path("owned.json"));
        ASSERT_TRUE(record.load()) << calls;
        for (const auto &[name, entry] : record.get().representors) {
            is_recorded = is_recorded || entry.port.function == spec.function;
        }
        if (!is_recorded) {
            EXPECT_EQ(name_of(spec), own_name) << calls;
            EXPECT_NE(mac_of(spec.function.number), guest_mac) << calls;
            EXPECT_NE(mac_of(spec.function.number), other_mac) << calls;
        }
    }
};

TEST_F(RepresentorCrashTest, before_any_system_call_of_making_one_leaves_what_the_record_names) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    bool through = false;
    int calls = 0;
    while (!through && ++calls < most_calls) {
        through = kill_before_call(calls, [&] { (void)open().ensure("vm1", vf0); });
        ASSERT_NO_FATAL_FAILURE(expect_recorded(vf0, "eth0", calls));
        // The agent that comes next gets on with it.
        const auto done = open().ensure("vm1", vf0);
        ASSERT_TRUE(done) << calls << ": " << done.error().detail;
        ASSERT_EQ(name_of(vf0), "vm1") << calls;
        ASSERT_TRUE(is_up(vf0)) << calls;
        ASSERT_EQ(mac_of(0), guest_mac) << calls;
        ASSERT_TRUE(open().release("vm1", false, {})) << calls;
        ASSERT_EQ(name_of(vf0), "eth0") << calls << ": its old name is not forgotten";
    }
    EXPECT_TRUE(through);
    EXPECT_GT(calls, 20);
}

TEST_F(RepresentorCrashTest, before_any_system_call_of_making_one_leaves_what_can_be_undone) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    bool through = false;
    int calls = 0;
    while (!through && ++calls < most_calls) {
        through = kill_before_call(calls, [&] { (void)open().ensure("vm1", vf0); });
        ASSERT_TRUE(open().release("vm1", false, {})) << calls;
        ASSERT_EQ(name_of(vf0), "eth0") << calls;
        ASSERT_NE(mac_of(0), guest_mac) << calls;
        ASSERT_EQ(recorded("vm1"), std::nullopt) << calls;
    }
    EXPECT_TRUE(through);
}

TEST_F(RepresentorCrashTest, before_any_system_call_of_giving_one_back_leaves_the_rest_to_do) {
    auto vf0 = make_representor(0);
    vf0.mac = guest_mac;
    bool through = false;
    int calls = 0;
    while (!through && ++calls < most_calls) {
        ASSERT_TRUE(open().ensure("vm1", vf0)) << calls;
        through = kill_before_call(calls, [&] { (void)open().release("vm1", false, {}); });
        ASSERT_NO_FATAL_FAILURE(expect_recorded(vf0, "eth0", calls));
        ASSERT_TRUE(open().release("vm1", false, {})) << calls;
        ASSERT_EQ(name_of(vf0), "eth0") << calls;
        ASSERT_FALSE(is_up(vf0)) << calls;
        ASSERT_NE(mac_of(0), guest_mac) << calls;
    }
    EXPECT_TRUE(through);
    EXPECT_GT(calls, 20);
}

TEST_F(RepresentorCrashTest, before_any_system_call_of_a_swap_leaves_it_to_be_finished) {
    auto vf0 = make_representor(0);
    auto vf1 = make_representor(1);
    vf0.mac = guest_mac;
    vf1.mac = other_mac;
    vf0.reserved_names = vf1.reserved_names = {"vm1", "vm2"};
    bool through = false;
    int calls = 0;
    // An act is a call and the call that reads what came of it, so every other one will do.
    while (!through && (calls += 2) < most_calls) {
        ASSERT_TRUE(open().ensure("vm1", vf0)) << calls;
        ASSERT_TRUE(open().ensure("vm2", vf1)) << calls;
        attach("vm1");
        attach("vm2");
        through = kill_before_call(calls, [&] {
            (void)open().ensure("vm1", vf1);
            (void)open().ensure("vm2", vf0);
        });
        ASSERT_NO_FATAL_FAILURE(expect_recorded(vf0, "eth0", calls));
        ASSERT_NO_FATAL_FAILURE(expect_recorded(vf1, "eth1", calls));
        const auto first = open().ensure("vm1", vf1);
        ASSERT_TRUE(first) << calls << ": " << first.error().detail;
        const auto second = open().ensure("vm2", vf0);
        ASSERT_TRUE(second) << calls << ": " << second.error().detail;
        ASSERT_EQ(name_of(vf1), "vm1") << calls;
        ASSERT_EQ(name_of(vf0), "vm2") << calls;
        ASSERT_TRUE(is_up(vf0) && is_up(vf1)) << calls;
        ASSERT_FALSE(is_attached("vm1") || is_attached("vm2")) << calls << ": by another name";
        ASSERT_TRUE(open().release("vm1", false, {})) << calls;
        ASSERT_TRUE(open().release("vm2", false, {})) << calls;
        ASSERT_EQ(name_of(vf0), "eth0") << calls;
        ASSERT_EQ(name_of(vf1), "eth1") << calls;
    }
    EXPECT_TRUE(through);
    EXPECT_GT(calls, 40);
}

}  // namespace
}  // namespace vdpa::agent::host
