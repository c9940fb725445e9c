// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/command_line.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "ovs-vdpa-agent/ovs/shim/process.h"

namespace vdpa::agent::ovs {
namespace {

constexpr const char *default_engine = "/run/ovs-vdpa-engine/rpc.sock";

void add_engine(void *aux, const char *path) noexcept {
    auto &engines = *static_cast<std::vector<std::string> *>(aux);
    if (std::find(engines.begin(), engines.end(), path) == engines.end()) {
        engines.emplace_back(path);
    }
}

}  // namespace

AgentOptions parse_command_line(int argc, char *argv[]) {
    AgentOptions options;
    const ovda_options parsed =
        ovda_process_parse(argc, argv, default_engine, add_engine, &options.engines);
    if (options.engines.empty()) {
        options.engines.emplace_back(default_engine);
    }
    const std::unique_ptr<char, decltype(&std::free)> database(parsed.database, &std::free);
    options.database = database.get();
    if (parsed.unixctl_path) {
        options.unixctl_path = parsed.unixctl_path;
    }
    return options;
}

void daemonize_start() {
    ovda_process_daemonize_start();
}

std::string run_dir() {
    return ovda_process_run_dir();
}

}  // namespace vdpa::agent::ovs
