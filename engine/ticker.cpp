// SPDX-License-Identifier: Apache-2.0
#include "engine/ticker.hpp"

#include <utility>

namespace vdpa::engine {

Ticker::Ticker(boost::asio::io_context &context, std::chrono::microseconds interval,
               std::function<void()> tick)
    : state_(new State{boost::asio::steady_timer(context), interval, std::move(tick)}) {}

Ticker::~Ticker() {
    stop();
}

void Ticker::start() {
    wait(state_);
}

void Ticker::stop() {
    state_->stopped = true;
    state_->timer.cancel();
}

void Ticker::wait(const std::shared_ptr<State> &state) {
    state->timer.expires_after(state->interval);
    state->timer.async_wait([state](const boost::system::error_code &) {
        if (!state->stopped) {
            state->tick();
        }
        if (!state->stopped) {
            wait(state);
        }
    });
}

}  // namespace vdpa::engine
