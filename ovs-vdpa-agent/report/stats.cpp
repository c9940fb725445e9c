// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/stats.hpp"

#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace vdpa::agent::report {

namespace {

using nlohmann::json;

/* A second: none where there is nothing to compare with. A counter that went back was reset. */
std::optional<double> rate(const StatsView &stats, uint32_t queue, const std::string &name,
                           uint64_t value) {
    const auto counters = stats.before.find(queue);
    if (stats.interval.count() <= 0 || counters == stats.before.end()) {
        return std::nullopt;
    }
    const auto before = counters->second.find(name);
    if (before == counters->second.end() || before->second > value) {
        return std::nullopt;
    }
    return static_cast<double>(value - before->second) / stats.interval.count();
}

/* The control queue comes behind the last pair. */
bool is_control(const StatsView &stats, uint32_t queue) {
    return stats.now.size() % 2 == 1 && queue == stats.now.rbegin()->first;
}

}  // namespace

std::string stats_text(const StatsView &stats) {
    std::ostringstream out;
    out.precision(1);
    out << std::fixed;
    if (stats.interval.count() > 0) {
        out << "rates a second over the last " << stats.interval.count() << " s\n";
    }
    for (const auto &[queue, counters] : stats.now) {
        out << "ring " << queue;
        if (is_control(stats, queue)) {
            out << " (control):";
        } else {
            out << " (" << (queue % 2 == 0 ? "rx" : "tx") << " of pair " << queue / 2 << "):";
        }
        out << (counters.empty() ? " no counters\n" : "\n");
        for (const auto &[name, value] : counters) {
            out << "    " << name << ": " << value;
            if (const auto each_second = rate(stats, queue, name, value)) {
                out << " (" << *each_second << "/s)";
            }
            out << "\n";
        }
    }
    if (!stats.note.empty()) {
        out << "note: " << stats.note << "\n";
    }
    return out.str();
}

std::string stats_json(const StatsView &stats) {
    json out = {
        {"interval", stats.interval.count()}, {"queues", json::array()}, {"note", stats.note}};
    for (const auto &[queue, counters] : stats.now) {
        json each = {{"index", queue},
                     {"control", is_control(stats, queue)},
                     {"counters", json::object()},
                     {"rates", json::object()}};
        for (const auto &[name, value] : counters) {
            each["counters"][name] = value;
            if (const auto each_second = rate(stats, queue, name, value)) {
                each["rates"][name] = *each_second;
            }
        }
        out["queues"].push_back(std::move(each));
    }
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace vdpa::agent::report
