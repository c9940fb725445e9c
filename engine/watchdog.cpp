// SPDX-License-Identifier: Apache-2.0
#include "engine/watchdog.hpp"

#include <utility>

#include "engine/log.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "watchdog";

}  // namespace

Watchdog::Watchdog(boost::asio::io_context &context, std::chrono::microseconds interval,
                   std::function<void()> feed)
    : interval_(interval),
      feed_(std::move(feed)),
      ticker_(context, interval, [this] { round(); }) {}

void Watchdog::watch(Pulse pulse) {
    const auto rounds = (pulse.patience + interval_ - std::chrono::microseconds(1)) / interval_;
    Watched watched{.pulse = std::move(pulse), .patience = static_cast<unsigned>(rounds)};
    watched.beats = watched.pulse.beats();
    watched_.push_back(std::move(watched));
}

void Watchdog::start() {
    round();
    ticker_.start();
}

void Watchdog::round() {
    bool all_live = true;
    for (Watched &watched : watched_) {
        all_live = lives(watched) && all_live;
    }
    if (all_live) {
        feed_();
    }
}

bool Watchdog::lives(Watched &watched) const {
    const uint64_t beats = watched.pulse.beats();
    if (beats != watched.beats) {
        if (watched.missed > watched.patience) {
            VDPA_LOG(warn, module, "thread %s goes on", watched.pulse.thread.c_str());
        }
        watched.beats = beats;
        watched.missed = 0;
        watched.asked = false;
    } else if (watched.asked && watched.missed <= watched.patience) {
        ++watched.missed;
        if (watched.missed > watched.patience) {
            const auto stood = std::chrono::duration_cast<std::chrono::seconds>(
                interval_ * static_cast<int>(watched.missed));
            VDPA_LOG(err, module,
                     "thread %s has stood still for %lld s: systemd, if the engine is its service, "
                     "is not told any more that the engine lives, and starts it anew",
                     watched.pulse.thread.c_str(), static_cast<long long>(stood.count()));
        }
    }
    if (!watched.asked) {
        watched.asked = true;
        watched.pulse.ask();
    }
    return watched.missed <= watched.patience;
}

}  // namespace vdpa::engine
