// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_eal.h>

#include <algorithm>
#include <array>
#include <string>

namespace vdpa::test {

/* Starts DPDK, once in this process; it needs neither hugepages nor privileges. */
inline bool start_dpdk() {
    static const bool started = [] {
        static std::array<std::string, 8> words = {
            "test",     "--no-huge",      "-m128",      "--no-shconf",
            "--no-pci", "--no-telemetry", "--lcores=0", "--log-level=lib.*:critical"};
        static std::array<char *, words.size()> argv;
        std::transform(words.begin(), words.end(), argv.begin(),
                       [](std::string &word) { return word.data(); });
        return rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0;
    }();
    return started;
}

}  // namespace vdpa::test
