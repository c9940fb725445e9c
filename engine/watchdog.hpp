// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <vector>

#include "engine/pulse.hpp"
#include "engine/ticker.hpp"

namespace vdpa::engine {

/* Tells the service manager that the engine lives, as long as all of its threads do: that of the
 * context, by which this runs, and those whose pulses are watched. When one stands still the log
 * names it, and nothing is told any more until it goes on.
 *
 * Time is counted in rounds of this thread, so that an engine that was stopped as a whole, or a
 * machine that slept, looks to nobody like a thread that stood still. */
class Watchdog {
  public:
    /* `feed` is called once a round, all being well. */
    Watchdog(boost::asio::io_context &context, std::chrono::microseconds interval,
             std::function<void()> feed);

    void watch(Pulse pulse);
    /* The first round is now. Once. */
    void start();
    /* A round; for tests. */
    void round();

  private:
    struct Watched {
        Pulse pulse;
        unsigned patience = 0;  // in rounds
        uint64_t beats = 0;     // at the last round
        unsigned missed = 0;    // rounds without
        bool asked = false;     // for a beat that has not come
    };

    bool lives(Watched &watched) const;

    const std::chrono::microseconds interval_;
    const std::function<void()> feed_;
    std::vector<Watched> watched_;
    Ticker ticker_;
};

}  // namespace vdpa::engine
