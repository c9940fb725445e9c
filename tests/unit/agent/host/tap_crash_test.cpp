// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <net/if.h>

#include "ovs-vdpa-agent/host/tap.hpp"
#include "tests/unit/agent/host/kill_before_call.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

class TapCrashTest : public NamespaceTest {
  protected:
    /* Indexes of all netdevs but the loopback. */
    static std::vector<int> netdevs() {
        std::vector<int> indexes;
        struct if_nameindex *all = ::if_nameindex();
        for (const auto *entry = all; entry->if_index != 0; entry++) {
            if (std::string(entry->if_name) != "lo") {
                indexes.push_back(static_cast<int>(entry->if_index));
            }
        }
        ::if_freenameindex(all);
        return indexes;
    }

    Taps open_taps() {
        auto taps = Taps::open(OwnedFile(folder.path("owned.json")));
        EXPECT_TRUE(taps);
        return std::move(*taps);
    }
};

TEST_F(TapCrashTest, before_any_system_call_of_making_a_netdev_leaves_none_that_is_not_recorded) {
    bool through = false;
    bool was_there = false;  // after a kill at an earlier call
    int calls = 0;
    while (!through && ++calls < most_calls) {
        through =
            kill_before_call(calls, [this] { (void)open_taps().ensure("vm1", {.owner = 1}); });
        const auto link = find("vm1");
        OwnedFile record(folder.path("owned.json"));
        ASSERT_TRUE(record.load()) << calls;
        if (link) {
            ASSERT_EQ(record.tap("vm1"), link->ifindex) << calls;
        }
        for (const int ifindex : netdevs()) {
            ASSERT_EQ(record.tap("vm1"), ifindex) << calls << ": whatever it is called";
        }
        ASSERT_FALSE(was_there && !link) << calls << ": ovs-vswitchd may have opened it";
        was_there = link.has_value();
        // The agent that comes next gets on with it, whatever it finds.
        Taps next = open_taps();
        const auto state = next.ensure("vm1", {.owner = 1});
        ASSERT_TRUE(state) << calls;
        ASSERT_FALSE(state->replaced) << calls << ": none was there that anybody could miss";
        ASSERT_TRUE(next.remove("vm1")) << calls;
        ASSERT_THAT(netdevs(), testing::IsEmpty()) << calls;
    }
    EXPECT_TRUE(through);
    EXPECT_GT(calls, 10);
}

TEST_F(TapCrashTest, before_any_system_call_of_deleting_a_netdev_leaves_it_recorded_or_gone) {
    bool through = false;
    int calls = 0;
    while (!through && ++calls < most_calls) {
        ASSERT_TRUE(open_taps().ensure("vm1", {})) << calls;
        through = kill_before_call(calls, [this] { (void)open_taps().remove("vm1"); });
        const auto link = find("vm1");
        OwnedFile record(folder.path("owned.json"));
        ASSERT_TRUE(record.load()) << calls;
        if (link) {
            ASSERT_EQ(record.tap("vm1"), link->ifindex) << calls;
        }
        ASSERT_TRUE(open_taps().remove("vm1")) << calls;
        ASSERT_FALSE(find("vm1")) << calls;
    }
    EXPECT_TRUE(through);
    EXPECT_GT(calls, 10);
}

}  // namespace
}  // namespace vdpa::agent::host
