// SPDX-License-Identifier: Apache-2.0
// What the front-end's side calls, and the loop of the device's thread; device_work.cpp has what is
// done in it.
#include "engine/vdpa/kernel/device_thread.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace vdpa::engine::kernel {

namespace {

using namespace std::chrono_literals;

/* QEMU sets up a queue pair after the other and lets the first one run before the last one is
 * there, but a device takes rings only before it runs. So rings that are still to be expected are
 * waited for, until none has come for a while; and never longer than this. */
constexpr auto ring_pause = 50ms;
constexpr auto longest_ring_wait = 1s;

/* The vhost library says "disabled, enabled" when a ring merely gets another eventfd. */
constexpr auto disable_pause = 10ms;

}  // namespace

Expected<std::unique_ptr<DeviceThread>> DeviceThread::create(VhostVdpa device, DeviceInfo info,
                                                             Report report) {
    std::unique_ptr<DeviceThread> thread(
        new DeviceThread(std::move(device), std::move(info), std::move(report)));
    if (auto launched = thread->launch(); !launched) {
        return tl::make_unexpected(launched.error());
    }
    return thread;
}

DeviceThread::DeviceThread(VhostVdpa device, DeviceInfo info, Report report)
    : info_(std::move(info)),
      host_memory_(device.system().memory_size()),
      report_(std::move(report)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      config_call_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    device_.emplace(std::move(device));
    driver_ = std::make_unique<Driver>(*device_, info_);
    state_.config = info_.config;
}

Expected<void> DeviceThread::launch() {
    if (!wake_ || !config_call_) {
        return fail(schema::Reason::device_failed,
                    info_.path + ": cannot make an eventfd: " + errno_text(errno));
    }
    try {
        thread_ = std::thread([this] { run(); });
    } catch (const std::system_error &error) {
        return fail(schema::Reason::device_failed,
                    info_.path + ": cannot start its thread: " + error.what());
    }
    const size_t slash = info_.path.rfind('-');
    const std::string number = slash == std::string::npos ? "" : info_.path.substr(slash);
    ::pthread_setname_np(thread_.native_handle(), ("vdpa" + number).substr(0, 15).c_str());
    return {};
}

DeviceThread::~DeviceThread() {
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            quit_ = true;
            cancellation_.cancel();
        }
        wake();
        thread_.join();
    }
}

void DeviceThread::wake() {
    ::eventfd_write(wake_.get(), 1);
}

State DeviceThread::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

void DeviceThread::set_phase(Phase phase) {
    if (state_.phase != phase) {
        state_.phase = phase;
        unreported_ = true;
    }
    if (phase != Phase::failed && phase != Phase::gone && state_.fault) {
        state_.fault.reset();
        unreported_ = true;
    }
    update_pairs();
}

/* The driver is the device's thread's while the device is not live. */
void DeviceThread::stop_live_rings() {
    if (driver_->live()) {
        stop_rings();
    }
}

bool DeviceThread::is_enabled(uint32_t ring) const {
    return ring < enabled_.size() && enabled_[ring];
}

/* No ring is to be expected any more. */
bool DeviceThread::complete() const {
    return !has(session_->features, VIRTIO_NET_F_MQ) ||
           session_->rings.size() >= 2 * size_t{info_.queue_pairs};
}

void DeviceThread::configure(Session session) {
    const std::lock_guard lock(mutex_);
    ++generation_;
    cancellation_.cancel();
    stop_live_rings();
    stopped_.clear();
    for (Ring &ring : session.rings) {
        ring.enabled = is_enabled(ring.index);
    }
    session_ = std::make_shared<Session>(std::move(session));
    const auto now = Clock::now();
    attempt_at_ = complete() ? now : now + ring_pause;
    attempt_by_ = now + longest_ring_wait;
    backoff_ = {};
    if (!gone_) {
        set_phase(Phase::starting);
    }
    wake();
}

void DeviceThread::refuse(Error why) {
    const std::lock_guard lock(mutex_);
    ++generation_;
    cancellation_.cancel();
    stop_live_rings();
    session_.reset();
    attempt_at_ = Clock::time_point::max();
    fault(std::move(why));
    wake();
}

void DeviceThread::set_ring(Ring ring) {
    const std::lock_guard lock(mutex_);
    if (!session_) {
        return;
    }
    auto &rings = session_->rings;
    if (ring.index < rings.size()) {
        Ring &known = rings[ring.index];
        known.kick = std::move(ring.kick);
        known.call = std::move(ring.call);
        known.relay = std::move(ring.relay);
        if (driver_->live()) {
            if (auto connected = driver_->connect_ring(known); !connected) {
                stop_rings();
                fault(connected.error());
            }
        }
        wake();  // to poll other descriptors
        return;
    }
    if (ring.index != rings.size()) {
        return;  // not without those before it
    }
    ring.enabled = is_enabled(ring.index);
    rings.push_back(std::move(ring));
    const auto now = Clock::now();
    if (driver_->live() && !std::exchange(restart_, true)) {
        attempt_by_ = now + longest_ring_wait;
    }
    if (restart_ || attempt_at_ != Clock::time_point::max()) {
        attempt_at_ = complete() ? now : std::min(now + ring_pause, attempt_by_);
    }
    wake();
}

void DeviceThread::enable_ring(uint32_t ring, bool on) {
    const std::lock_guard lock(mutex_);
    if (ring >= enabled_.size()) {
        enabled_.resize(ring + 1);
    }
    enabled_[ring] = on;
    if (session_ && ring < session_->rings.size()) {
        session_->rings[ring].enabled = on;
    }
    if (!driver_->live()) {
        return;
    }
    if (info_.selection == PairSelection::enable && session_ && ring < session_->rings.size()) {
        if (auto done = driver_->enable_ring(ring, on); !done) {
            stop_rings();
            fault(done.error());
        }
    }
    const auto due = Clock::now() + (on ? Clock::duration{} : Clock::duration{disable_pause});
    pairs_at_ = pairs_at_ == Clock::time_point::max() ? due : std::max(pairs_at_, due);
    wake();
}

std::vector<StoppedRing> DeviceThread::close() {
    const std::lock_guard lock(mutex_);
    ++generation_;
    cancellation_.cancel();
    stop_live_rings();
    session_.reset();
    attempt_at_ = Clock::time_point::max();
    if (!gone_) {
        set_phase(Phase::idle);
    }
    wake();
    return std::exchange(stopped_, {});
}

void DeviceThread::forget_front_end() {
    (void)close();
    const std::lock_guard lock(mutex_);
    enabled_.clear();
}

void DeviceThread::node_removed() {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    cancellation_.cancel();
    wake();
}

void DeviceThread::run() {
    Lock lock(mutex_);
    while (!quit_) {
        if (!step(lock)) {
            deliver(lock);
            wait(lock);
        }
    }
    leave(lock);
}

void DeviceThread::deliver(Lock &lock) {
    if (unreported_) {
        unreported_ = false;
        const State state = state_;
        lock.unlock();
        report_(state);
        lock.lock();
    }
}

/* Of the rings that the device serves. */
std::vector<std::shared_ptr<CallRelay>> DeviceThread::call_relays() const {
    std::vector<std::shared_ptr<CallRelay>> relays;
    if (session_ && driver_->live()) {
        for (const Ring &ring : session_->rings) {
            if (ring.relay) {
                relays.push_back(ring.relay);
            }
        }
    }
    return relays;
}

void DeviceThread::wait(Lock &lock) {
    if (unreported_ || quit_) {
        return;
    }
    const auto due = std::min({attempt_at_, pairs_at_, answer_by_});
    int timeout = -1;
    if (due != Clock::time_point::max()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now());
        timeout = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    // A descriptor of its own: the queue may be gone before poll() returns.
    UniqueFd answer;
    if (asked_pairs_ && driver_->control_queue()) {
        answer.reset(::dup(driver_->control_queue()->answer_fd()));
    }
    std::vector<pollfd> fds = {
        {wake_.get(), POLLIN, 0}, {config_call_.get(), POLLIN, 0}, {answer.get(), POLLIN, 0}};
    const auto relays = call_relays();
    for (const auto &relay : relays) {
        fds.push_back({relay->eventfd(), POLLIN, 0});
    }
    lock.unlock();
    ::poll(fds.data(), fds.size(), timeout);
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    const bool config_changed = ::eventfd_read(config_call_.get(), &count) == 0;
    for (const auto &relay : relays) {
        relay->pass_on();
    }
    lock.lock();
    config_changed_ = config_changed_ || config_changed;
}

}  // namespace vdpa::engine::kernel
