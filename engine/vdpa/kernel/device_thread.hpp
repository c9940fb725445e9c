// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/log.hpp"
#include "engine/vdpa/kernel/device_info.hpp"
#include "engine/vdpa/kernel/driver.hpp"
#include "engine/vdpa/kernel/session.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

enum class Phase : uint8_t {
    idle,      // no front-end wants the device
    starting,  // memory is being mapped, rings are being set up
    running,   // the device has DRIVER_OK and serves the rings
    failed,    // `fault` says why; tried again where that can help, at growing intervals
    gone,      // the device was removed; this object is of no use any more
};

struct State {
    Phase phase = Phase::idle;
    uint32_t queue_pairs = 0;  // that the device serves and the front-end has enabled
    std::optional<Error> fault;
    NetConfig config;

    bool operator==(const State &) const = default;
};

/* Serves the rings of one front-end after the other with one device. Whatever may take long, of
 * which mapping memory is the longest, is done by a thread of its own, so that the vhost library's
 * event thread, which has every port's front-end to answer, does not wait for it.
 *
 * A front-end's side is one thread at a time (the event thread); its calls wait at most for the
 * kernel to set up or stop the rings of this device, or to take a piece of memory out of the page
 * tables, never for memory to be mapped or unmapped. */
class DeviceThread {
  public:
    /* Gets the present state whenever it has changed, in the device's thread, with no lock held;
     * states that were followed by others in the meantime may be left out. */
    using Report = std::function<void(const State &)>;

    /* Takes over an open and probed device. Error: device-failed. */
    static Expected<std::unique_ptr<DeviceThread>> create(VhostVdpa device, DeviceInfo info,
                                                          Report report);
    /* Stops and closes the device; waits for that, which with much memory takes a second or more.
     * Not while a lock is held that `report` takes. */
    ~DeviceThread();
    DeviceThread(const DeviceThread &) = delete;
    DeviceThread &operator=(const DeviceThread &) = delete;

    const DeviceInfo &info() const { return info_; }
    State state() const;
    uint64_t host_memory() const { return host_memory_; }

    /* Front-end: wants its rings served from now on. */
    void configure(Session session);
    /* Front-end: what it wants cannot be served, for this reason, until the next configure(). */
    void refuse(Error why);
    /* Front-end: a ring has other eventfds, or has been set up after configure(). */
    void set_ring(Ring ring);
    /* Front-end: wants this ring served, or not. Known also while nothing is configured. */
    void enable_ring(uint32_t ring, bool on);
    /* Front-end: its memory and rings are not to be touched any more when this returns. Where the
     * rings stand that were served since configure(). */
    std::vector<StoppedRing> close();
    /* Front-end: another one comes next. */
    void forget_front_end();

    /* Any thread: the device's node has been removed. The device is let go of soon after. */
    void node_removed();

  private:
    using Clock = std::chrono::steady_clock;
    using Lock = std::unique_lock<std::mutex>;

    DeviceThread(VhostVdpa device, DeviceInfo info, Report report);
    Expected<void> launch();
    void run();
    bool step(Lock &lock);
    void wait(Lock &lock);
    std::vector<std::shared_ptr<CallRelay>> call_relays() const;
    void deliver(Lock &lock);
    void attempt(Lock &lock);
    Expected<bool> prepare(const Session &session, uint64_t generation);
    void unmap(Lock &lock);
    void leave(Lock &lock);
    Expected<void> reopen();
    void stop_rings();
    void stop_live_rings();
    bool is_enabled(uint32_t ring) const;
    void fault(Error error);
    void look_at_config();
    void look_at_pairs();
    uint32_t wanted_pairs() const;
    bool complete() const;
    void update_pairs();
    void set_phase(Phase phase);
    void wake();

    const DeviceInfo info_;
    const uint64_t host_memory_;
    const Report report_;
    const UniqueFd wake_;
    const UniqueFd config_call_;

    mutable std::mutex mutex_;
    std::optional<VhostVdpa> device_;
    std::unique_ptr<Driver> driver_;
    std::shared_ptr<Session> session_;  // null: no front-end wants anything
    uint64_t generation_ = 0;           // of `session_`
    std::vector<bool> enabled_;         // by ring
    std::vector<StoppedRing> stopped_;  // what close() has to tell, of rings that were served
    State state_;
    bool unreported_ = false;
    bool gone_ = false;
    bool quit_ = false;
    bool restart_ = false;                       // rings have come after the device was started
    bool config_changed_ = false;                // says the device
    std::optional<uint64_t> mapped_generation_;  // whose memory is mapped; for the thread alone

    /* When to do what is due; far in the future if nothing is. */
    Clock::time_point attempt_at_ = Clock::time_point::max();
    Clock::time_point attempt_by_ = Clock::time_point::max();
    Clock::time_point pairs_at_ = Clock::time_point::max();
    Clock::duration backoff_{};
    uint32_t active_pairs_ = 0;
    std::optional<uint32_t> asked_pairs_;
    Clock::time_point answer_by_ = Clock::time_point::max();

    Cancellation cancellation_;
    log::RateLimit fault_limit_;
    std::thread thread_;
};

}  // namespace vdpa::engine::kernel
