// SPDX-License-Identifier: Apache-2.0
#include "engine/eal.hpp"

#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "engine/dpdk_errors.hpp"
#include "engine/dpdk_log.hpp"
#include "engine/eal_args.hpp"
#include "engine/log.hpp"

namespace vdpa::engine {

namespace {

std::vector<unsigned> cpus_of(const cpu_set_t &set) {
    std::vector<unsigned> cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

std::string advice(const std::string &said) {
    if (said.find("ugepage") != std::string::npos || said.find("memory") != std::string::npos) {
        return ". Reserve hugepages (vm.nr_hugepages), or set vdpa-extra to \"--no-huge\", and "
               "restart the engine";
    }
    return ". Correct vdpa-extra, vdpa-lcore-mask and vdpa-socket-mem, and restart the engine";
}

}  // namespace

Expected<void> start_eal(const std::vector<std::string> &args) {
    cpu_set_t affinity;
    CPU_ZERO(&affinity);
    const bool known = ::sched_getaffinity(0, sizeof(affinity), &affinity) == 0;
    const auto complete =
        complete_eal_args(args, known ? cpus_of(affinity) : std::vector<unsigned>{},
                          "ovs-vdpa-engine-" + std::to_string(::getpid()));
    if (!complete) {
        return tl::make_unexpected(complete.error());
    }
    // The EAL takes the array for its own, permutes it, and keeps pointers into it.
    static auto *const strings = new std::vector<std::string>;
    static auto *const argv = new std::vector<char *>;
    *strings = *complete;
    std::string line;
    for (std::string &arg : *strings) {
        line += (line.empty() ? "" : " ") + arg;
        argv->push_back(arg.data());
    }
    const int argc = static_cast<int>(argv->size());
    argv->push_back(nullptr);
    VDPA_LOG(info, "eal", "starting DPDK: %s", line.c_str());

    redirect_dpdk_log();
    const DpdkErrors errors;
    const int result = rte_eal_init(argc, argv->data());
    const int error = rte_errno;
    if (known) {
        ::sched_setaffinity(0, sizeof(affinity), &affinity);
    }
    if (result >= 0) {
        VDPA_LOG(info, "eal", "DPDK runs");
        return {};
    }
    const std::string said = errors.text();
    return fail(schema::Reason::eal_failed,
                "DPDK did not start: " + (said.empty() ? errno_text(error) : said) + advice(said));
}

}  // namespace vdpa::engine
