// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/relay.hpp"

#include <utility>

#include "engine/relay/features.hpp"
#include "engine/relay/port_state.hpp"

namespace vdpa::engine::relay {

namespace {

constexpr uint16_t highest_pair_count = 128;

}  // namespace

Expected<std::unique_ptr<Port>> Port::attach(Workers &workers, const PortConfig &config) {
    return attach(workers, config, make_vhost_front_end());
}

Expected<std::unique_ptr<Port>> Port::attach(Workers &workers, const PortConfig &config,
                                             std::unique_ptr<FrontEnd> front_end) {
    if (config.max_queue_pairs == 0 || config.max_queue_pairs > highest_pair_count) {
        return fail(schema::Reason::bad_max_queues,
                    "port " + config.name + ": the number of queue pairs is 1 to 128, not " +
                        std::to_string(config.max_queue_pairs));
    }
    std::optional<Tap> tap;
    if (!config.netdev_awaited) {
        auto opened = Tap::open(config.netdev, config.max_queue_pairs, config.takes_over);
        if (!opened) {
            return tl::make_unexpected(opened.error());
        }
        tap.emplace(std::move(*opened));
    }
    return std::unique_ptr<Port>(new Port(
        std::make_unique<PortState>(workers, config, std::move(front_end), std::move(tap))));
}

Port::Port(std::unique_ptr<PortState> state) : state_(std::move(state)) {}

Port::~Port() = default;

uint64_t Port::features(bool packed, bool offloads) {
    return offered_features(packed, offloads);
}

void Port::new_connection() {
    state_->new_connection();
}

void Port::device_up(int vid) {
    state_->device_up(vid);
}

void Port::device_down() {
    state_->device_down();
}

void Port::ring_enabled(uint16_t ring, bool on) {
    state_->ring_enabled(ring, on);
}

bool Port::quiesce() {
    return state_->quiesce();
}

void Port::resume() {
    state_->resume();
}

Expected<std::shared_ptr<Tap>> Port::open_netdev(const std::string &netdev,
                                                 unsigned max_queue_pairs) {
    return Tap::open(netdev, max_queue_pairs).map([](Tap &&tap) {
        return std::make_shared<Tap>(std::move(tap));
    });
}

void Port::use_netdev(const std::shared_ptr<Tap> &tap) {
    state_->use_netdev(std::move(*tap));
}

void Port::recover(std::chrono::steady_clock::time_point now) {
    state_->recover(now);
}

std::optional<Error> Port::fault() const {
    return state_->fault();
}

std::vector<QueueStats> Port::stats() const {
    return state_->stats();
}

void Port::reset_stats() {
    state_->reset_stats();
}

unsigned Port::enabled_queue_pairs() const {
    return state_->enabled_queue_pairs();
}

unsigned Port::max_queue_pairs() const {
    return state_->max_queue_pairs();
}

}  // namespace vdpa::engine::relay
