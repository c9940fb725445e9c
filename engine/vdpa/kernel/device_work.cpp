// SPDX-License-Identifier: Apache-2.0
// What a device's thread does.
#include <algorithm>
#include <utility>

#include "engine/vdpa/kernel/device_thread.hpp"

namespace vdpa::engine::kernel {

namespace {

using namespace std::chrono_literals;

constexpr const char *module = "kernel_vdpa";

constexpr auto first_backoff = 100ms;
constexpr auto longest_backoff = 30s;

/* A device that is asked to use more or fewer queue pairs answers in milliseconds. */
constexpr auto answer_time = 2s;

}  // namespace

/* Does what is most urgent of what is due. False: nothing is. */
bool DeviceThread::step(Lock &lock) {
    const auto now = Clock::now();
    if (gone_) {
        if (state_.phase != Phase::gone) {
            leave(lock);
            state_.fault = Error{schema::Reason::device_missing,
                                 info_.path + " has been removed while it was in use"};
            unreported_ = true;
            set_phase(Phase::gone);
            VDPA_LOG(warn, module, "%s", state_.fault->detail.c_str());
            return true;
        }
        return false;
    }
    if (session_ && restart_ && driver_->live() && now >= attempt_at_) {
        stop_rings();
        return true;
    }
    if (session_ && !driver_->live() && now >= attempt_at_) {
        attempt(lock);
        return true;
    }
    if (!session_ && driver_->mapped()) {
        unmap(lock);
        return true;
    }
    if (driver_->live()) {
        if (std::exchange(config_changed_, false)) {
            look_at_config();
            return true;
        }
        look_at_pairs();
    }
    return false;
}

/* Sets the device up for the session, with the lock released for what takes long. */
void DeviceThread::attempt(Lock &lock) {
    attempt_at_ = Clock::time_point::max();
    const uint64_t generation = generation_;
    const std::shared_ptr<Session> session = session_;
    cancellation_.reset(quit_ || gone_);
    // Another attempt changes nothing for those who look on until it succeeds.
    if (state_.phase != Phase::failed) {
        set_phase(Phase::starting);
    }
    deliver(lock);
    if (generation != generation_ || quit_ || gone_) {
        return;
    }
    Expected<void> started;
    if (driver_->broken()) {
        started = reopen();
    }
    if (started) {
        lock.unlock();
        const Expected<bool> prepared = prepare(*session, generation);
        lock.lock();
        if (generation != generation_ || quit_ || gone_) {
            driver_->stop();
            unmap(lock);
            return;
        }
        started = prepared ? driver_->start(*session_, config_call_.get())
                           : tl::make_unexpected(prepared.error());
    }
    if (!started) {
        stop_rings();
        fault(started.error());
        return;
    }
    restart_ = false;
    backoff_ = {};
    active_pairs_ = 1;
    asked_pairs_.reset();
    pairs_at_ = Clock::now();
    set_phase(Phase::running);
    look_at_config();
}

/* Up to where the rings are set up. The lock is not held: of `session` only what does not change
 * is looked at. */
Expected<bool> DeviceThread::prepare(const Session &session, uint64_t generation) {
    if (mapped_generation_ != generation || !driver_->keeps_map()) {
        driver_->unmap();
        mapped_generation_.reset();
    }
    if (auto negotiated = driver_->negotiate(session.features); !negotiated) {
        return tl::make_unexpected(negotiated.error());
    }
    if (mapped_generation_) {
        return true;
    }
    auto mapped = driver_->map(session.memory, cancellation_);
    if (mapped && *mapped) {
        mapped_generation_ = generation;
    }
    return mapped;
}

/* Not while live: then nobody else uses the driver. */
void DeviceThread::unmap(Lock &lock) {
    mapped_generation_.reset();
    lock.unlock();
    driver_->unmap();
    lock.lock();
}

/* Leaves nothing of ours in the kernel. */
void DeviceThread::leave(Lock &lock) {
    stop_rings();
    unmap(lock);
    driver_->abandon();
}

/* Gets a device again that had to be closed. It must be what it was: front-ends were told. */
Expected<void> DeviceThread::reopen() {
    auto device = open_device(device_->system(), info_.path);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    const auto info = probe(*device);
    if (!info) {
        return tl::make_unexpected(info.error());
    }
    if (info->features != info_.features || info->backend_features != info_.backend_features ||
        info->ring_count != info_.ring_count || info->queue_pairs != info_.queue_pairs ||
        info->control_group != info_.control_group) {
        return fail(schema::Reason::device_failed,
                    info_.path + " is another device than it was before");
    }
    mapped_generation_.reset();
    driver_.reset();
    device_.emplace(std::move(*device));
    driver_ = std::make_unique<Driver>(*device_, info_);
    return {};
}

/* The device's rings come to rest, and the session knows where. */
void DeviceThread::stop_rings() {
    restart_ = false;
    asked_pairs_.reset();
    answer_by_ = pairs_at_ = Clock::time_point::max();
    const auto stopped = driver_->stop();
    if (stopped.empty()) {
        return;
    }
    stopped_ = stopped;
    if (session_) {
        for (const StoppedRing &ring : stopped) {
            if (ring.index < session_->rings.size()) {
                session_->rings[ring.index].position = ring.position;
            }
        }
    }
}

void DeviceThread::fault(Error error) {
    if (error != state_.fault) {
        VDPA_LOG_WITH_LIMIT(fault_limit_, warn, module, "%s", error.detail.c_str());
    }
    // Rings that the device cannot take over it will not take over later either.
    if (session_ && error.reason != schema::Reason::no_ring_state) {
        backoff_ = std::clamp<Clock::duration>(2 * backoff_, first_backoff, longest_backoff);
        attempt_at_ = Clock::now() + backoff_;
    }
    state_.fault = std::move(error);
    unreported_ = true;
    set_phase(gone_ ? Phase::gone : Phase::failed);
}

void DeviceThread::look_at_config() {
    const auto needs_reset = driver_->needs_reset();
    const auto config = read_net_config(*device_, info_.features);
    if (!needs_reset || !config) {
        const Error error = needs_reset ? config.error() : needs_reset.error();
        stop_rings();
        fault(error);
        return;
    }
    if (*needs_reset) {
        stop_rings();
        fault({schema::Reason::device_failed,
               info_.path + ": the device has failed and needs a reset, which it gets"});
        return;
    }
    if (*config != state_.config) {
        state_.config = *config;
        unreported_ = true;
    }
}

/* Leading pairs of which the front-end has enabled both rings. */
uint32_t DeviceThread::wanted_pairs() const {
    const size_t set_up = session_ ? session_->rings.size() / 2 : 0;
    uint32_t pairs = 0;
    while (pairs < set_up && session_->rings[2 * pairs].enabled &&
           session_->rings[2 * pairs + 1].enabled) {
        ++pairs;
    }
    return pairs;
}

void DeviceThread::update_pairs() {
    uint32_t pairs = 0;
    if (state_.phase == Phase::running) {
        pairs = info_.selection == PairSelection::enable ? wanted_pairs()
                                                         : std::min(active_pairs_, wanted_pairs());
    }
    if (pairs != state_.queue_pairs) {
        state_.queue_pairs = pairs;
        unreported_ = true;
    }
}

/* Has the device use as many queue pairs as the front-end has enabled. */
void DeviceThread::look_at_pairs() {
    const auto now = Clock::now();
    ControlQueue *const queue = driver_->control_queue();
    if (queue && asked_pairs_) {
        switch (queue->answer()) {
            case ControlQueue::Answer::ok:
                active_pairs_ = *asked_pairs_;
                break;
            case ControlQueue::Answer::none:
                if (now < answer_by_) {
                    return;
                }
                [[fallthrough]];
            case ControlQueue::Answer::refused:
                const std::string pairs = std::to_string(*asked_pairs_);
                stop_rings();
                fault({schema::Reason::device_failed,
                       info_.path + " does not do as it is told on its control queue: to use " +
                           pairs + " queue pairs"});
                return;
        }
        asked_pairs_.reset();
        answer_by_ = Clock::time_point::max();
    }
    if (now >= pairs_at_) {
        pairs_at_ = Clock::time_point::max();
        const uint32_t wanted = std::max(wanted_pairs(), uint32_t{1});
        if (queue && wanted != active_pairs_) {
            queue->ask_for_pairs(static_cast<uint16_t>(wanted));
            asked_pairs_ = wanted;
            answer_by_ = now + answer_time;
        }
    }
    update_pairs();
}

}  // namespace vdpa::engine::kernel
