// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/forwarder.hpp"

#include <algorithm>
#include <array>

#include "engine/dpdk_errors.hpp"
#include "engine/relay/features.hpp"
#include "engine/relay/front_end.hpp"
#include "engine/vdpa/counters.hpp"
#include "engine/vhost/message.hpp"

namespace vdpa::engine::device {

namespace {

constexpr const char *module = "vdpa";

/* Of attempts to configure a device; the kernel or the NIC may be at work to recover. */
constexpr std::chrono::seconds first_retry{2};
constexpr std::chrono::seconds last_retry{30};

/* Other ports notice, from here on. */
constexpr std::chrono::milliseconds long_stall{1000};

/* How long the reader of counters waits for a driver that is at work. */
constexpr std::chrono::milliseconds patience{200};

}  // namespace

void Forwarder::set_limits(const Limits &limits) {
    const std::lock_guard lock(mutex_);
    limits_ = limits;
    enabled_.assign(size_t{2} * limits.queue_pairs, false);
    mapped_.assign(size_t{2} * limits.queue_pairs, false);
}

void Forwarder::begin(int vid, std::shared_ptr<Announcer> observer) {
    const std::lock_guard lock(mutex_);
    vid_ = vid;
    if (vid >= 0) {
        to_clean_up_.insert(vid);
    }
    observer_ = std::move(observer);
    in_message_ = message_failed_ = wanted_ = configured_ = false;
    fault_.reset();
    enabled_.assign(enabled_.size(), false);
    mapped_.assign(mapped_.size(), false);
}

void Forwarder::end() {
    begin(-1, nullptr);
}

bool Forwarder::message_begins() {
    const std::lock_guard lock(mutex_);
    message_failed_ = false;
    return !std::exchange(in_message_, true);
}

bool Forwarder::message_ends() {
    const std::lock_guard lock(mutex_);
    in_message_ = false;
    return !message_failed_;
}

template <typename Call>
int Forwarder::timed(const char *what, Call call) {
    const auto begin = Clock::now();
    int result = 0;
    {
        const std::lock_guard busy(calls_);
        result = call();
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    {
        const std::lock_guard lock(mutex_);
        stall_ms_ = std::max(stall_ms_, static_cast<uint32_t>(took.count()));
    }
    if (took >= long_stall) {
        VDPA_LOG_WITH_LIMIT(stall_limit_, warn, module,
                            "%s: its driver's %s has held up every port of this engine for %lld "
                            "ms; an engine of its own for the port keeps others from that",
                            name_.c_str(), what, static_cast<long long>(took.count()));
    }
    return result;
}

void Forwarder::announce() const {
    std::shared_ptr<Announcer> observer;
    {
        const std::lock_guard lock(mutex_);
        observer = observer_;
    }
    if (observer) {
        observer->announce();
    }
}

void Forwarder::configure(int vid) {
    {
        const std::lock_guard lock(mutex_);
        to_clean_up_.insert(vid);
        wanted_ = true;
        retry_after_ = std::chrono::seconds{0};
    }
    attempt(vid);
}

void Forwarder::attempt(int vid) {
    if (auto sound = check(vid); !sound) {
        failed(std::move(sound.error()));
        return;
    }
    const DpdkErrors errors;
    const int result = timed("dev_conf", [&] { return driver_.dev_conf(vid); });
    if (result != 0) {
        const std::string said = errors.text();
        failed({schema::Reason::device_failed,
                "the driver of " + name_ + " could not configure it (" + std::to_string(result) +
                    ")" + (said.empty() ? "" : ": " + said) +
                    "; it is tried again at intervals of up to " +
                    std::to_string(last_retry.count()) + " s"});
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        configured_ = true;
        if (fault_) {
            VDPA_LOG_WITH_LIMIT(fault_limit_, info, module, "%s: configured at last",
                                name_.c_str());
        }
        fault_.reset();
    }
    announce();
}

void Forwarder::failed(Error error) {
    {
        const std::lock_guard lock(mutex_);
        retry_after_ = std::clamp(2 * retry_after_, first_retry, last_retry);
        retry_at_ = Clock::now() + retry_after_;
        if (fault_ != error) {
            VDPA_LOG_WITH_LIMIT(fault_limit_, warn, module, "%s", error.detail.c_str());
        }
        fault_ = std::move(error);
    }
    announce();
}

bool Forwarder::wants_retry(Clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    return vid_ >= 0 && wanted_ && !configured_ && !in_message_ && now >= retry_at_;
}

void Forwarder::hurry() {
    const std::lock_guard lock(mutex_);
    retry_at_ = {};
}

void Forwarder::retry() {
    int vid = -1;
    {
        const std::lock_guard lock(mutex_);
        if (vid_ < 0 || !wanted_ || configured_) {
            return;
        }
        vid = vid_;
    }
    attempt(vid);
}

Expected<void> Forwarder::check(int vid) const {
    const auto wrong = [this](const std::string &what) {
        return fail(schema::Reason::device_failed,
                    name_ + " is not configured: the front-end " + what);
    };
    std::vector<bool> enabled;
    {
        const std::lock_guard lock(mutex_);
        if (in_message_) {
            return wrong("has sent a table of memory that could not be taken");
        }
        enabled = enabled_;
    }
    if (rte_vhost_get_vring_num(vid) > enabled.size()) {
        return wrong("has set up more rings than were offered");
    }
    const auto front_end = relay::make_vhost_front_end();
    const uint64_t features = front_end->features(vid);
    const relay::GuestMemory memory(front_end->memory(vid));
    for (size_t ring = 0; ring < enabled.size(); ++ring) {
        if (!enabled[ring]) {
            continue;
        }
        const auto setup = front_end->ring(vid, static_cast<uint16_t>(ring));
        if (!setup || !relay::make_virtqueue(*setup, features, memory, {})) {
            return wrong("has set up ring " + std::to_string(ring) +
                         " outside of its memory, misaligned, or of a size that is not allowed");
        }
    }
    return {};
}

void Forwarder::close(int vid) {
    bool was_configured = false;
    {
        const std::lock_guard lock(mutex_);
        wanted_ = false;
        was_configured = std::exchange(configured_, false);
        fault_.reset();
        mapped_.assign(mapped_.size(), false);
    }
    if (was_configured) {
        const int result = timed("dev_close", [&] { return driver_.dev_close(vid); });
        if (result != 0) {
            VDPA_LOG_WITH_LIMIT(fault_limit_, warn, module,
                                "%s: its driver could not stop it in order (%d)", name_.c_str(),
                                result);
        }
    }
    announce();
}

int Forwarder::cleanup(int vid) {
    {
        const std::lock_guard lock(mutex_);
        if (to_clean_up_.erase(vid) == 0) {
            return 0;
        }
    }
    return timed("dev_cleanup", [&] { return driver_.dev_cleanup(vid); });
}

int Forwarder::enable_ring(int vid, int ring, bool on) {
    bool running = false;
    {
        const std::lock_guard lock(mutex_);
        if (ring < 0 || static_cast<size_t>(ring) >= enabled_.size()) {
            return -1;
        }
        to_clean_up_.insert(vid);
        enabled_[static_cast<size_t>(ring)] = on;
        running = configured_;
    }
    // Before it runs, configure() looks.
    if (running && on) {
        if (auto sound = check(vid); !sound) {
            failed(std::move(sound.error()));
            return -1;
        }
    }
    return timed("set_vring_state", [&] { return driver_.set_vring_state(vid, ring, on ? 1 : 0); });
}

int Forwarder::set_features(int vid) {
    {
        const std::lock_guard lock(mutex_);
        to_clean_up_.insert(vid);
    }
    const DpdkErrors errors;
    const int result = timed("set_features", [&] { return driver_.set_features(vid); });
    uint64_t features = 0;
    if (result != 0 && rte_vhost_get_negotiated_features(vid, &features) == 0 &&
        relay::has(features, relay::vhost_f_log_all)) {
        // A migration that goes on without a log of dirty pages would corrupt the guest.
        const std::string said = errors.text();
        {
            const std::lock_guard lock(mutex_);
            message_failed_ = true;
        }
        failed({schema::Reason::device_failed,
                "the driver of " + name_ + " could not log dirty pages (" + std::to_string(result) +
                    ")" + (said.empty() ? "" : ": " + said)});
    }
    return result;
}

void Forwarder::on_doorbell(uint32_t ring, bool mapped) {
    {
        const std::lock_guard lock(mutex_);
        if (ring >= mapped_.size() || mapped_[ring] == mapped) {
            return;
        }
        mapped_[ring] = mapped;
    }
    announce();
}

Forwarder::State Forwarder::state() const {
    const std::lock_guard lock(mutex_);
    State state{.configured = configured_, .stall_ms = stall_ms_, .fault = fault_};
    for (size_t ring = 0; ring + 1 < enabled_.size(); ring += 2) {
        state.queue_pairs += enabled_[ring] && enabled_[ring + 1] ? 1 : 0;
    }
    state.doorbell_mapped = std::find(mapped_.begin(), mapped_.end(), true) != mapped_.end();
    return state;
}

std::vector<schema::QueueStats> Forwarder::stats(uint32_t rings) const {
    const std::unique_lock busy(calls_, patience);
    return busy ? read_counters(driver_, device_, rings) : no_counters(rings);
}

void Forwarder::reset_stats(uint32_t rings) {
    if (const std::unique_lock busy(calls_, patience); busy) {
        reset_counters(driver_, device_, rings);
    }
}

bool Forwarder::read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const {
    std::array<uint8_t, sizeof(vhost::DeviceConfig::region)> space{};
    if (!driver_.get_config || size > space.size() || offset > space.size() - size ||
        driver_.get_config(vid, space.data(), offset + size) != 0) {
        return false;
    }
    std::copy_n(space.begin() + offset, size, bytes);
    return true;
}

}  // namespace vdpa::engine::device
