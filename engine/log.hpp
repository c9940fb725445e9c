// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "schema/support/error.hpp"

/* The engine's log, a line an event, in the form of Open vSwitch's vlog:
 *   2026-01-01T00:00:00.000Z|00001|module|LEVEL|message
 * Every function may be called from any thread. */
namespace vdpa::engine::log {

enum class Level : uint8_t { emer, err, warn, info, dbg };

/* Lines above this level are not written; info until it is set. */
void set_level(Level level);
bool enabled(Level level);

/* Appends to `path` from now on, where until now it was stderr. Error: engine-error, with the
 * reason in words; the log stays where it was. */
Expected<void> open_file(const std::string &path);
/* Opens the file given to open_file() again, for log rotation; without one, nothing happens. */
void reopen_file();

/* Writes one line. Control characters in `message`, which may come from a peer, are replaced. */
void write(Level level, const char *module, std::string_view message);

[[gnu::format(printf, 3, 4)]] void print(Level level, const char *module, const char *format, ...);

/* Lets through a burst, then one message every few seconds. One object for each place that logs. */
class RateLimit {
  public:
    /* Whether the message may be written; `dropped` gets how many before it could not. */
    bool allow(uint64_t &dropped);

  private:
    std::atomic<int64_t> tokens_until_{0};
    std::atomic<uint64_t> dropped_{0};
};

}  // namespace vdpa::engine::log

#define VDPA_LOG(level, module, ...)                                                            \
    do {                                                                                        \
        if (::vdpa::engine::log::enabled(::vdpa::engine::log::Level::level)) {                  \
            ::vdpa::engine::log::print(::vdpa::engine::log::Level::level, module, __VA_ARGS__); \
        }                                                                                       \
    } while (0)

/* For whatever a peer (guest, front-end, RPC client) can bring about as often as it likes. `limit`
 * is a RateLimit. */
#define VDPA_LOG_WITH_LIMIT(limit, level, module, ...)                                          \
    do {                                                                                        \
        uint64_t vdpa_dropped = 0;                                                              \
        if (::vdpa::engine::log::enabled(::vdpa::engine::log::Level::level) &&                  \
            (limit).allow(vdpa_dropped)) {                                                      \
            if (vdpa_dropped != 0) {                                                            \
                ::vdpa::engine::log::print(::vdpa::engine::log::Level::info, module,            \
                                           "dropped %llu log messages like the next one",       \
                                           static_cast<unsigned long long>(vdpa_dropped));      \
            }                                                                                   \
            ::vdpa::engine::log::print(::vdpa::engine::log::Level::level, module, __VA_ARGS__); \
        }                                                                                       \
    } while (0)

/* The same with a limit of its own for each place in the code. */
#define VDPA_LOG_LIMITED(level, module, ...)                              \
    do {                                                                  \
        static ::vdpa::engine::log::RateLimit vdpa_rate_limit;            \
        VDPA_LOG_WITH_LIMIT(vdpa_rate_limit, level, module, __VA_ARGS__); \
    } while (0)
