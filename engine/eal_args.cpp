// SPDX-License-Identifier: Apache-2.0
#include "engine/eal_args.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace vdpa::engine {

namespace {

/* Whether `args` has one of the options; long ones also as "--option=value", short ones also as
 * "-ovalue". */
bool has_option(const std::vector<std::string> &args,
                std::initializer_list<std::string_view> options) {
    const auto is = [](std::string_view arg, std::string_view option) {
        if (!arg.starts_with(option)) {
            return false;
        }
        const bool is_long = option.starts_with("--");
        return arg.size() == option.size() || !is_long || arg[option.size()] == '=';
    };
    return std::any_of(args.begin(), args.end(), [&](const std::string &arg) {
        return std::any_of(options.begin(), options.end(),
                           [&](std::string_view option) { return is(arg, option); });
    });
}

std::string join(const std::vector<unsigned> &cpus) {
    std::string text;
    for (const unsigned cpu : cpus) {
        text += (text.empty() ? "" : ",") + std::to_string(cpu);
    }
    return text;
}

}  // namespace

Expected<std::vector<std::string>> complete_eal_args(const std::vector<std::string> &args,
                                                     const std::vector<unsigned> &cpus,
                                                     const std::string &file_prefix) {
    if (has_option(args, {"-h", "--help", "--version"}) ||
        std::find(args.begin(), args.end(), "-v") != args.end()) {
        return fail(schema::Reason::eal_failed,
                    "DPDK's arguments may not hold -h, --help, -v or --version, which end the "
                    "process: remove it from vdpa-extra");
    }
    std::vector<std::string> all = {"ovs-vdpa-engine"};
    if (!has_option(args, {"--in-memory", "--no-huge"})) {
        all.emplace_back("--in-memory");
    }
    if (!has_option(args, {"--file-prefix"})) {
        all.push_back("--file-prefix=" + file_prefix);
    }
    if (!has_option(args, {"-a", "--allow", "-b", "--block", "--no-pci"})) {
        all.insert(all.end(), {"-a", "0000:00:00.0"});
    }
    if (!has_option(args, {"--iova-mode"})) {
        all.emplace_back("--iova-mode=va");
    }
    if (!has_option(args, {"-c", "-l", "--lcores"}) && !cpus.empty()) {
        all.push_back("--lcores=0@(" + join(cpus) + ")");
    }
    if (!has_option(args, {"--telemetry", "--no-telemetry"})) {
        all.emplace_back("--no-telemetry");
    }
    all.insert(all.end(), args.begin(), args.end());
    return all;
}

}  // namespace vdpa::engine
