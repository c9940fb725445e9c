// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/port_state.hpp"

#include <algorithm>
#include <utility>

#include "engine/relay/features.hpp"

namespace vdpa::engine::relay {

namespace {

/* Changing the number of queues takes the rtnl lock and an RCU grace period in the worker: a guest
 * gets to do that now and then. */
constexpr std::chrono::milliseconds limit_change_interval{100};

}  // namespace

PortState::PortState(Workers &workers, PortConfig config, std::unique_ptr<FrontEnd> front_end,
                     std::optional<Tap> tap)
    : workers_(workers),
      config_(std::move(config)),
      front_end_(std::move(front_end)),
      tap_(std::move(tap)),
      counters_(std::make_unique<QueueCounters[]>(config_.max_queue_pairs * 2U + 1)),
      complaints_(config_.name),
      enabled_(config_.max_queue_pairs * 2U + 1) {
    for (unsigned n = 0; n < config_.max_queue_pairs; n++) {
        pairs_.push_back(std::make_unique<Pair>());
        pairs_.back()->worker = &workers_.assign();
    }
}

PortState::~PortState() {
    {
        const std::lock_guard lock(mutex_);
        unload(false);
    }
    for (const auto &pair : pairs_) {
        Workers::release(*pair->worker);
    }
}

void PortState::new_connection() {
    const std::lock_guard lock(mutex_);
    unload(false);
    vid_ = -1;
    quiesced_ = false;
    std::fill(enabled_.begin(), enabled_.end(), false);
    tap_to_rest();
}

void PortState::device_up(int vid) {
    const std::lock_guard lock(mutex_);
    vid_ = vid;
    fresh_ = true;
    pair_limit_ = 0;
    load();
}

void PortState::device_down() {
    const std::lock_guard lock(mutex_);
    unload(true);
    vid_ = -1;
    tap_to_rest();
}

void PortState::ring_enabled(uint16_t ring, bool on) {
    const std::lock_guard lock(mutex_);
    if (ring >= enabled_.size()) {
        // Not ours to serve: a front-end with more pairs than were offered.
        return;
    }
    if (enabled_[ring] != on) {
        unload(true);
        enabled_[ring] = on;
        load();
    }
}

bool PortState::quiesce() {
    const std::lock_guard lock(mutex_);
    if (quiesced_) {
        return false;
    }
    unload(true);
    quiesced_ = true;
    return true;
}

void PortState::resume() {
    const std::lock_guard lock(mutex_);
    quiesced_ = false;
    load();
}

void PortState::use_netdev(Tap &&tap) {
    const std::lock_guard lock(mutex_);
    if (!tap_) {
        tap.set_max_queues(config_.max_queue_pairs);
        tap_.emplace(std::move(tap));
        load();
    }
}

void PortState::recover(HostFault::Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (quiesced_ || !host_fault_.wants_retry(now)) {
        return;
    }
    if (vid_ >= 0) {
        unload(true);
        load();
    } else {
        tap_to_rest();
    }
}

void PortState::load() {
    if (vid_ < 0 || quiesced_ || loaded_ || !tap_) {
        return;
    }
    features_ = front_end_->features(vid_);
    memory_ = GuestMemory(front_end_->memory(vid_));
    log_ = front_end_->dirty_log(vid_);
    host_fault_.begin();
    if (auto done = tap_->configure(net_header_size(features_), tap_offloads(features_)); !done) {
        host_fault_.note(done, "the guest is not served");
        served_pairs_ = 0;
    } else {
        load_pairs();
    }
    follow_carrier();
    host_fault_.end();
}

void PortState::load_pairs() {
    if (fresh_) {
        // From before, with other offloads and perhaps for another guest.
        tap_->drain();
        // With the control queue in our hands the driver begins with one pair (5.1.5.5).
        const bool ours = has(features_, VIRTIO_NET_F_MQ) && ring_wanted(control_ring());
        pair_limit_ = ours ? 1 : config_.max_queue_pairs;
        fresh_ = false;
    }
    loaded_ = true;
    unsigned served = 0;
    for (unsigned n = 0; n < pairs_.size(); n++) {
        served += load_pair(n) ? 1 : 0;
    }
    served_pairs_ = served;
    ask_workers(Worker::Request::What::serve);
}

bool PortState::load_pair(unsigned index) {
    Pair &pair = *pairs_[index];
    pair.serve = false;
    if (!ring_wanted(2 * index) || !ring_wanted(2 * index + 1) ||
        (index != 0 && !has(features_, VIRTIO_NET_F_MQ))) {
        tap_->close_queue(index);
        return false;
    }
    const std::string name = "queue pair " + std::to_string(index);
    if (auto done = tap_->open_queue(index); !done) {
        host_fault_.note(done, name + " is not served");
        return false;
    }
    host_fault_.note(tap_->steer_queue(index, index < pair_limit_),
                     "frames go to " + name + " as before");
    const auto receive = static_cast<uint16_t>(2 * index);
    const auto transmit = static_cast<uint16_t>(2 * index + 1);
    Caller &caller = pair.worker->caller();
    QueuePair::Rings rings{.receive = load_ring(receive, counters_[receive], caller),
                           .transmit = load_ring(transmit, counters_[transmit], caller),
                           .control = nullptr,
                           .tap_fd = tap_->queue_fd(index),
                           .receives = tap_->receives(index)};
    if (rings.receive == nullptr || rings.transmit == nullptr) {
        return false;
    }
    if (index == 0 && ring_wanted(control_ring())) {
        rings.control = load_ring(static_cast<uint16_t>(control_ring()),
                                  counters_[config_.max_queue_pairs * 2U], caller);
    }
    pair.queues.load(std::move(rings), features_,
                     [this](uint16_t pairs) { return limit_pairs(pairs); });
    pair.serve = true;
    return true;
}

std::unique_ptr<Ring> PortState::load_ring(uint16_t ring, QueueCounters &counters, Caller &caller) {
    const auto setup = front_end_->ring(vid_, ring);
    if (!setup) {
        return nullptr;
    }
    return std::make_unique<Ring>(ring, *setup, features_, memory_, log_, counters, complaints_,
                                  caller);
}

void PortState::unload(bool save) {
    if (!loaded_) {
        return;
    }
    ask_workers(Worker::Request::What::let_go);
    for (unsigned n = 0; n < pairs_.size(); n++) {
        Pair &pair = *pairs_[n];
        if (!pair.serve) {
            continue;
        }
        pair.serve = false;
        const QueuePair::Rings rings = pair.queues.unload();
        if (!save) {
            continue;
        }
        const auto save_ring = [this](const std::unique_ptr<Ring> &ring, unsigned number) {
            if (ring != nullptr) {
                front_end_->set_position(vid_, static_cast<uint16_t>(number), ring->position());
            }
        };
        save_ring(rings.receive, 2 * n);
        save_ring(rings.transmit, 2 * n + 1);
        save_ring(rings.control, control_ring());
    }
    loaded_ = false;
    memory_ = GuestMemory();
    log_ = {};
}

unsigned PortState::control_ring() const {
    // It comes behind the last pair that the device has (5.1.2), which is one without MQ.
    return has(features_, VIRTIO_NET_F_MQ) ? config_.max_queue_pairs * 2U : 2U;
}

void PortState::ask_workers(Worker::Request::What what) {
    struct Batch {
        std::vector<QueuePair *> pairs;
        Worker::Request request;
    };
    std::vector<std::pair<Worker *, std::unique_ptr<Batch>>> batches;
    for (const auto &pair : pairs_) {
        if (!pair->serve) {
            continue;
        }
        auto batch = std::find_if(batches.begin(), batches.end(), [&pair](const auto &other) {
            return other.first == pair->worker;
        });
        if (batch == batches.end()) {
            batch = batches.emplace(batches.end(), pair->worker, std::make_unique<Batch>());
        }
        batch->second->pairs.push_back(&pair->queues);
    }
    for (const auto &[worker, batch] : batches) {
        batch->request = {.what = what, .pairs = batch->pairs};
        worker->begin(batch->request);
    }
    for (const auto &[worker, batch] : batches) {
        worker->wait(batch->request);
    }
}

void PortState::follow_carrier() {
    const bool on = loaded_ && pairs_[0]->serve;
    host_fault_.note(tap_->set_carrier(on),
                     on ? "the guest is not served" : "the netdev has a carrier without a guest");
}

void PortState::tap_to_rest() {
    served_pairs_ = 0;
    if (!tap_) {
        return;
    }
    host_fault_.begin();
    const char *consequence = "the next guest is not served";
    host_fault_.note(tap_->set_carrier(false), consequence);
    for (unsigned n = 1; n < pairs_.size(); n++) {
        tap_->close_queue(n);
    }
    host_fault_.note(tap_->configure(sizeof(virtio_net_hdr_v1), 0), consequence);
    host_fault_.end();
}

bool PortState::limit_pairs(uint16_t pairs) {
    const auto now = std::chrono::steady_clock::now();
    if (pairs == 0 || pairs > config_.max_queue_pairs || now < next_limit_change_) {
        return false;
    }
    next_limit_change_ = now + limit_change_interval;
    pair_limit_ = pairs;
    bool done = true;
    for (unsigned n = 1; n < pairs_.size(); n++) {
        const auto steered = tap_->steer_queue(n, n < pairs);
        host_fault_.add(steered, "frames go to queue pair " + std::to_string(n) + " as before");
        done = steered.has_value() && done;
    }
    return done;
}

std::vector<QueueStats> PortState::stats() const {
    std::vector<QueueStats> stats;
    for (unsigned n = 0; n < config_.max_queue_pairs * 2U + 1; n++) {
        const QueueStats now = counters_[n].read();
        stats.push_back(zero_.empty() ? now : since(zero_[n], now));
    }
    return stats;
}

void PortState::reset_stats() {
    // The counters are the workers' to write.
    zero_.clear();
    zero_ = stats();
}

unsigned PortState::enabled_queue_pairs() const {
    return std::min<unsigned>(served_pairs_.load(), pair_limit_.load());
}

}  // namespace vdpa::engine::relay
