// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "schema/engine_rpc.hpp"

namespace vdpa::agent::report {

/* Counters of a queue by name, of a port by the queue's index. */
using QueueCounters = std::map<std::string, uint64_t>;
using PortCounters = std::map<uint32_t, QueueCounters>;

/* Counters of a port, with those that were asked for before. */
struct StatsView {
    PortCounters now;  // a queue that has none is there without any
    PortCounters before;
    std::chrono::duration<double> interval{};  // since then; 0: nobody has asked before
    std::string note;                          // what is not there, and why

    bool operator==(const StatsView &) const = default;
};

/* Body of vdpa/stats: each queue, below it a line for each counter, and behind that its rate over
 * the interval. */
std::string stats_text(const StatsView &stats);
std::string stats_json(const StatsView &stats);

}  // namespace vdpa::agent::report
