// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>

namespace vdpa::engine {

/* Calls a function again and again, an interval after the last call returned. For the thread that
 * runs the context.
 *
 * Cancelling a timer of Boost.Asio does nothing to a handler that waits in the queue because the
 * time is over already: it is called without an error. One that arms the timer again would then
 * keep the context, and the thread that runs it, for good. So what counts here is a flag. */
class Ticker {
  public:
    Ticker(boost::asio::io_context &context, std::chrono::microseconds interval,
           std::function<void()> tick);
    /* As stop(). */
    ~Ticker();
    Ticker(const Ticker &) = delete;
    Ticker &operator=(const Ticker &) = delete;

    /* The first call comes after one interval. Once. */
    void start();
    /* No call begins any more, and the context has no work of this one. May be called by the
     * function itself. */
    void stop();

  private:
    struct State {
        boost::asio::steady_timer timer;
        const std::chrono::microseconds interval;
        const std::function<void()> tick;
        bool stopped = false;
    };

    static void wait(const std::shared_ptr<State> &state);

    const std::shared_ptr<State> state_;
};

}  // namespace vdpa::engine
