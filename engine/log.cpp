// SPDX-License-Identifier: Apache-2.0
#include "engine/log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::log {

namespace {

std::atomic<Level> threshold{Level::info};

/* Where lines go. The mutex keeps their numbers in the order of the lines. */
struct Sink {
    std::mutex mutex;
    UniqueFd file;
    std::string path;
    uint64_t sequence = 0;
};

Sink &sink() {
    // Never destroyed: the vhost library's threads may log until the very end of the process.
    static auto *const instance = new Sink;
    return *instance;
}

const char *level_name(Level level) {
    switch (level) {
        case Level::emer:
            return "EMER";
        case Level::err:
            return "ERR";
        case Level::warn:
            return "WARN";
        case Level::info:
            return "INFO";
        case Level::dbg:
            return "DBG";
    }
    return "?";
}

UniqueFd open_log(const std::string &path) {
    return UniqueFd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
}

std::string timestamp() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    std::array<char, 48> text{};
    const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text.data() + length, text.size() - length, ".%03ldZ", now.tv_nsec / 1000000);
    return text.data();
}

constexpr int64_t burst = 10;
constexpr int64_t interval_ns = 3'000'000'000;

}  // namespace

void set_level(Level level) {
    threshold = level;
}

bool enabled(Level level) {
    return level <= threshold.load(std::memory_order_relaxed);
}

Expected<void> open_file(const std::string &path) {
    UniqueFd file = open_log(path);
    if (!file) {
        return fail(schema::Reason::engine_error,
                    "cannot open log file " + path + ": " + errno_text(errno));
    }
    Sink &out = sink();
    const std::lock_guard lock(out.mutex);
    out.file = std::move(file);
    out.path = path;
    return {};
}

void reopen_file() {
    Sink &out = sink();
    std::unique_lock lock(out.mutex);
    if (out.path.empty()) {
        return;
    }
    UniqueFd file = open_log(out.path);
    if (file) {
        out.file = std::move(file);
        return;
    }
    const std::string problem =
        out.path + ": cannot open it again, the old file goes on: " + errno_text(errno);
    lock.unlock();
    write(Level::warn, "log", problem);
}

void write(Level level, const char *module, std::string_view message) {
    if (!enabled(level)) {
        return;
    }
    std::string clean(message);
    std::replace_if(
        clean.begin(), clean.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    const std::string when = timestamp();

    Sink &out = sink();
    const std::lock_guard lock(out.mutex);
    std::array<char, 96> head{};
    std::snprintf(head.data(), head.size(), "|%05llu|%s|%s|",
                  static_cast<unsigned long long>(++out.sequence), module, level_name(level));
    const std::string line = when + head.data() + clean + "\n";
    const int fd = out.file ? out.file.get() : STDERR_FILENO;
    // A log that cannot be written has nobody to be told.
    [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
}

void print(Level level, const char *module, const char *format, ...) {
    std::array<char, 2048> text{};
    va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    if (length >= 0) {
        write(level, module, {text.data(), std::min(static_cast<size_t>(length), text.size() - 1)});
    }
}

bool RateLimit::allow(uint64_t &dropped) {
    // The bucket is kept as the time at which it was, or will be, full but for `burst` messages;
    // it may be early by a burst, and advances by one interval a message.
    const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::steady_clock::now().time_since_epoch())
                            .count();
    int64_t until = tokens_until_.load(std::memory_order_relaxed);
    int64_t next = 0;
    do {
        next = std::max(until, now - burst * interval_ns) + interval_ns;
        if (next > now) {
            dropped_.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
    } while (!tokens_until_.compare_exchange_weak(until, next, std::memory_order_relaxed));
    dropped = dropped_.exchange(0, std::memory_order_relaxed);
    return true;
}

}  // namespace vdpa::engine::log
