// SPDX-License-Identifier: Apache-2.0
#include "engine/dpdk_log.hpp"

#include <rte_log.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "engine/dpdk_errors.hpp"
#include "engine/log.hpp"
#include "engine/vhost/registry.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "dpdk";

/* Messages that DPDK takes for faults and that happen every day: a page size that the host has and
 * reserves no pages of, while there are others (when there are none, an error follows); for the
 * vhost library, a front-end that is not there yet or was killed, or one that we refused and said
 * so. */
bool everyday(std::string_view line) {
    constexpr std::array everyday_texts = {
        std::string_view{"hugepages reported on node"},
        std::string_view{"failed to connect:"},
        std::string_view{"recvmsg failed on fd"},
        std::string_view{"failed to add vhost user connection"},
        std::string_view{"vhost read message"},
        std::string_view{"sendmsg error on fd"},
        std::string_view{"vhost message handling failed."},
    };
    return std::any_of(everyday_texts.begin(), everyday_texts.end(),
                       [line](auto text) { return line.find(text) != std::string_view::npos; });
}

/* "VHOST_CONFIG: (/proc/self/fd/9/vm1.sock.1) message" with the port's name for the path. */
std::string with_port_name(std::string_view line) {
    const size_t open = line.find(": (");
    const size_t close = line.find(") ", open);
    if (open == std::string_view::npos || close == std::string_view::npos) {
        return std::string(line);
    }
    const std::string path(line.substr(open + 3, close - open - 3));
    return std::string(line.substr(0, open + 2)) + vhost::Registry::instance().display_name(path) +
           ": " + std::string(line.substr(close + 2));
}

void log_line(uint32_t level, std::string_view line) {
    const std::string text = with_port_name(line);
    if (level <= RTE_LOG_ERR && !everyday(line)) {
        if (DpdkErrors::note(text)) {
            VDPA_LOG(dbg, module, "%s", text.c_str());
        } else {
            VDPA_LOG_LIMITED(err, module, "%s", text.c_str());
        }
    } else if (level <= RTE_LOG_WARNING && !everyday(line)) {
        VDPA_LOG_LIMITED(warn, module, "%s", text.c_str());
    } else if (level <= RTE_LOG_INFO && !log::enabled(log::Level::dbg)) {
        VDPA_LOG_LIMITED(info, module, "%s", text.c_str());
    } else {
        VDPA_LOG(info, module, "%s", text.c_str());  // debugging wants all of it
    }
}

/* The write function of the stream; see fopencookie(3). */
ssize_t take_text(void *, const char *text, size_t size) {
    const int level = rte_log_cur_msg_loglevel();
    std::string_view rest(text, size);
    while (!rest.empty()) {
        const size_t newline = rest.find('\n');
        const std::string_view line = rest.substr(0, newline);
        if (!line.empty()) {
            log_line(level > 0 ? static_cast<uint32_t>(level) : RTE_LOG_INFO, line);
        }
        rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    }
    return static_cast<ssize_t>(size);
}

}  // namespace

void redirect_dpdk_log() {
    FILE *stream = ::fopencookie(nullptr, "w", {nullptr, take_text, nullptr, nullptr});
    if (!stream) {
        return;
    }
    // Unbuffered, a message is one call of take_text(), on the thread that knows its level.
    std::setvbuf(stream, nullptr, _IONBF, 0);
    rte_openlog_stream(stream);
    // At INFO the library logs every vhost-user message.
    if (!log::enabled(log::Level::dbg)) {
        rte_log_set_level_pattern("lib.vhost.config", RTE_LOG_NOTICE);
    }
}

}  // namespace vdpa::engine
