// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/host_config.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "schema/support/option_values.hpp"

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

/* PF[,num-vfs=N] */
Expected<host::PfSpec> parse_pf_spec(std::string_view word) {
    const auto bad = [word](const std::string &wanted) {
        return fail(Reason::bad_pfs,
                    "vdpa-pfs=" + std::string(word.substr(0, 200)) + ": " + wanted);
    };
    const size_t comma = word.find(',');
    const auto handle = host::parse_pf(word.substr(0, comma));
    if (!handle) {
        return fail(Reason::bad_pfs, "vdpa-pfs=" + handle.error().detail);
    }
    host::PfSpec spec{*handle, std::nullopt};
    if (comma == std::string_view::npos) {
        return spec;
    }
    constexpr std::string_view key = "num-vfs=";
    constexpr uint32_t most = 65'535;  // sriov_totalvfs has 16 bits: PCI Express, section 9.3.3
    const std::string_view argument = word.substr(comma + 1);
    if (!argument.starts_with(key)) {
        return bad("after the PF may follow num-vfs=N only, after a comma");
    }
    const auto number = schema::read_integer(argument.substr(key.size()), 0, most);
    if (!number) {
        return bad("num-vfs " + number.error());
    }
    spec.num_vfs = *number;
    return spec;
}

std::vector<host::PfSpec> parse_pfs(const std::string &text, std::vector<Error> &errors) {
    std::vector<host::PfSpec> specs;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        auto spec = parse_pf_spec(word);
        if (!spec) {
            errors.push_back(spec.error());
            continue;
        }
        const bool is_again = std::any_of(specs.begin(), specs.end(), [&spec](const auto &other) {
            return other.handle == spec->handle;
        });
        if (is_again) {
            errors.push_back({Reason::bad_pfs, "vdpa-pfs=" + word.substr(0, 200) +
                                                   ": the PF is named before it already; the first "
                                                   "counts"});
        } else {
            specs.push_back(std::move(*spec));
        }
    }
    return specs;
}

}  // namespace

HostConfig parse_host_config(const ovs::GlobalRow &row) {
    HostConfig config;
    config.options = schema::parse_global_options(row.other_config, config.errors);
    config.engine = engine_params(config.options, config.errors);
    config.pfs = parse_pfs(config.options.pfs.value_or(""), config.errors);
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
