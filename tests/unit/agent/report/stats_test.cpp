// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/stats.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::agent::report {
namespace {

using nlohmann::json;

TEST(Stats, name_each_ring_by_its_direction_and_pair) {
    StatsView stats;
    stats.now = {{0, {{"packets", 3}, {"bytes", 180}}}, {1, {}}, {2, {}}, {3, {{"kicks", 4}}}};
    EXPECT_EQ(stats_text(stats),
              "ring 0 (rx of pair 0):\n"
              "    bytes: 180\n"
              "    packets: 3\n"
              "ring 1 (tx of pair 0): no counters\n"
              "ring 2 (rx of pair 1): no counters\n"
              "ring 3 (tx of pair 1):\n"
              "    kicks: 4\n");
}

TEST(Stats, name_the_control_queue_behind_the_pairs) {
    StatsView stats;
    stats.now = {{0, {}}, {1, {}}, {2, {{"packets", 1}}}};
    EXPECT_EQ(stats_text(stats),
              "ring 0 (rx of pair 0): no counters\n"
              "ring 1 (tx of pair 0): no counters\n"
              "ring 2 (control):\n"
              "    packets: 1\n");
}

TEST(Stats, have_rates_over_the_time_since_they_were_asked_for_last) {
    StatsView stats;
    stats.before = {{0, {{"packets", 100}, {"bytes", 50}}}, {1, {}}};
    stats.now = {{0, {{"packets", 350}, {"bytes", 20}, {"drops", 7}}}, {1, {{"packets", 5}}}};
    stats.interval = std::chrono::milliseconds(2500);
    EXPECT_EQ(stats_text(stats),
              "rates a second over the last 2.5 s\n"
              "ring 0 (rx of pair 0):\n"
              "    bytes: 20\n"
              "    drops: 7\n"
              "    packets: 350 (100.0/s)\n"
              "ring 1 (tx of pair 0):\n"
              "    packets: 5\n")
        << "a counter that went back, and one that is new, have no rate";
    const json shown = json::parse(stats_json(stats));
    EXPECT_EQ(shown["interval"], 2.5);
    EXPECT_EQ(shown["queues"][0]["counters"]["packets"], 350);
    EXPECT_EQ(shown["queues"][0]["rates"]["packets"], 100.0);
    EXPECT_FALSE(shown["queues"][0]["rates"].contains("bytes"));
    EXPECT_EQ(shown["queues"][1]["rates"], json::object());
}

TEST(Stats, say_what_is_not_there) {
    StatsView stats;
    stats.now = {{0, {}}};
    stats.note = "the kernel says no";
    EXPECT_TRUE(stats_text(stats).ends_with("note: the kernel says no\n"));
    EXPECT_EQ(json::parse(stats_json(stats))["note"], stats.note);
}

}  // namespace
}  // namespace vdpa::agent::report
