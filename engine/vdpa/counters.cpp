// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/counters.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/dpdk_errors.hpp"

namespace vdpa::engine::device {

namespace {

using Names = std::vector<rte_vdpa_stat_name>;

Names names_of(const rte_vdpa_dev_ops &driver, rte_vdpa_device &device) {
    const int count = driver.get_stats_names(&device, nullptr, 0);
    Names names(static_cast<size_t>(std::max(count, 0)));
    const int got =
        driver.get_stats_names(&device, names.data(), static_cast<unsigned>(names.size()));
    names.resize(static_cast<size_t>(std::clamp(got, 0, std::max(count, 0))));
    return names;
}

}  // namespace

std::vector<schema::QueueStats> no_counters(uint32_t rings) {
    std::vector<schema::QueueStats> all(rings);
    for (uint32_t ring = 0; ring < rings; ++ring) {
        all[ring].index = ring;
    }
    return all;
}

std::vector<schema::QueueStats> read_counters(const rte_vdpa_dev_ops &driver,
                                              rte_vdpa_device &device, uint32_t rings) {
    std::vector<schema::QueueStats> all = no_counters(rings);
    if (!driver.get_stats_names || !driver.get_stats) {
        return all;
    }
    const DpdkErrors expected(true);
    const Names names = names_of(driver, device);
    if (names.empty()) {
        return all;
    }
    for (schema::QueueStats &ring : all) {
        std::vector<rte_vdpa_stat> values(names.size());
        const int got = driver.get_stats(&device, static_cast<int>(ring.index), values.data(),
                                         static_cast<unsigned>(values.size()));
        values.resize(std::min(static_cast<size_t>(std::max(got, 0)), values.size()));
        for (const auto &[id, value] : values) {
            if (id < names.size()) {
                const char *name = names[id].name;
                ring.counters[std::string(name, ::strnlen(name, sizeof(names[id].name)))] = value;
            }
        }
    }
    return all;
}

void reset_counters(const rte_vdpa_dev_ops &driver, rte_vdpa_device &device, uint32_t rings) {
    if (!driver.reset_stats) {
        return;
    }
    const DpdkErrors expected(true);
    for (uint32_t ring = 0; ring < rings; ++ring) {
        driver.reset_stats(&device, static_cast<int>(ring));
    }
}

}  // namespace vdpa::engine::device
