// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/host_config.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace vdpa::agent::config {

namespace {

using schema::Reason;

/* CPUs of a hexadecimal mask such as 0x6 or c0; nothing if it is none. */
std::optional<std::vector<uint32_t>> cpus_of_mask(std::string_view mask) {
    if (mask.starts_with("0x") || mask.starts_with("0X")) {
        mask.remove_prefix(2);
    }
    std::vector<uint32_t> cpus;
    uint32_t cpu = 0;
    for (auto digit = mask.rbegin(); digit != mask.rend(); ++digit, cpu += 4) {
        if (std::isxdigit(static_cast<unsigned char>(*digit)) == 0) {
            return std::nullopt;
        }
        const unsigned bits = std::isdigit(static_cast<unsigned char>(*digit)) != 0
                                  ? static_cast<unsigned>(*digit - '0')
                                  : static_cast<unsigned>(std::tolower(*digit) - 'a') + 10;
        for (uint32_t bit = 0; bit < 4; bit++) {
            if ((bits >> bit & 1U) != 0) {
                cpus.push_back(cpu + bit);
            }
        }
    }
    if (cpus.empty() || cpus.back() > 1023) {
        return std::nullopt;
    }
    return cpus;
}

bool is_memory_list(std::string_view text) {
    return !text.empty() && text.front() != ',' && text.back() != ',' &&
           text.find(",,") == std::string_view::npos &&
           std::all_of(text.begin(), text.end(),
                       [](unsigned char c) { return std::isdigit(c) != 0 || c == ','; });
}

schema::EngineStartParams engine_params(const schema::GlobalOptions &options,
                                        std::vector<Error> &errors) {
    schema::EngineStartParams params;
    if (options.socket_mem) {
        if (is_memory_list(*options.socket_mem)) {
            params.eal.push_back("--socket-mem=" + *options.socket_mem);
        } else {
            errors.push_back(
                {Reason::bad_eal_option, "vdpa-socket-mem=" + *options.socket_mem +
                                             ": must be numbers of MiB separated by commas"});
        }
    }
    if (options.lcore_mask) {
        constexpr size_t max_workers = 128;
        auto cpus = cpus_of_mask(*options.lcore_mask);
        if (cpus && cpus->size() <= max_workers) {
            params.workers = std::move(*cpus);
        } else {
            errors.push_back(
                {Reason::bad_eal_option, "vdpa-lcore-mask=" + *options.lcore_mask +
                                             ": must be a hexadecimal mask of 1 to 128 CPUs"});
        }
    }
    std::istringstream words(options.extra.value_or(""));
    for (std::string word; words >> word;) {
        params.eal.push_back(word);
    }
    constexpr size_t max_arguments = 128;
    if (params.eal.size() > max_arguments) {
        params.eal.resize(max_arguments);
        errors.push_back({Reason::bad_eal_option, "vdpa-extra: has more than 128 arguments"});
    }
    return params;
}

}  // namespace

HostConfig parse_host_config(const ovs::GlobalRow &row) {
    HostConfig config;
    config.options = schema::parse_global_options(row.other_config, config.errors);
    config.engine = engine_params(config.options, config.errors);
    config.userspace_tso = row.userspace_tso;
    for (const auto &[key, value] : row.other_config) {
        if (key.starts_with("vdpa-") && !schema::is_global_key(key)) {
            config.unknown_keys.push_back(key);
        }
    }
    return config;
}

bool lies_below(const std::string &path, const std::vector<std::string> &folders) {
    return std::any_of(folders.begin(), folders.end(), [&path](const std::string &folder) {
        return folder == "/" || path.starts_with(folder + "/");
    });
}

}  // namespace vdpa::agent::config
