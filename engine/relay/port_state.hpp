// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/relay/front_end.hpp"
#include "engine/relay/host_fault.hpp"
#include "engine/relay/log.hpp"
#include "engine/relay/queue_pair.hpp"
#include "engine/relay/relay.hpp"
#include "engine/relay/tap.hpp"
#include "engine/relay/worker.hpp"

namespace vdpa::engine::relay {

/* What Port promises, carried out. Rings are loaded (copies of the library's description exist and
 * workers serve them) exactly while a device is up and not quiesced and the netdev is open;
 * otherwise the library's description, ring indices included, is the truth. */
class PortState {
  public:
    /* `tap`: none while the netdev is awaited. */
    PortState(Workers &workers, PortConfig config, std::unique_ptr<FrontEnd> front_end,
              std::optional<Tap> tap);
    ~PortState();
    PortState(const PortState &) = delete;
    PortState &operator=(const PortState &) = delete;

    void new_connection();
    void device_up(int vid);
    void device_down();
    void ring_enabled(uint16_t ring, bool on);
    bool quiesce();
    void resume();
    void use_netdev(Tap &&tap);
    void recover(HostFault::Clock::time_point now);

    std::vector<QueueStats> stats() const;
    void reset_stats();
    unsigned enabled_queue_pairs() const;
    std::optional<Error> fault() const { return host_fault_.fault(); }
    unsigned max_queue_pairs() const { return config_.max_queue_pairs; }

  private:
    struct Pair {
        QueuePair queues;
        Worker *worker = nullptr;
        bool serve = false;
    };

    void load();
    void load_pairs();
    /* `save`: hands the ring indices to the library, whose device must still be there. */
    void unload(bool save);
    bool load_pair(unsigned index);
    std::unique_ptr<Ring> load_ring(uint16_t ring, QueueCounters &counters, Caller &caller);
    bool ring_wanted(unsigned ring) const { return ring < enabled_.size() && enabled_[ring]; }
    unsigned control_ring() const;
    void ask_workers(Worker::Request::What what);
    void follow_carrier();
    void tap_to_rest();
    bool limit_pairs(uint16_t pairs);

    Workers &workers_;
    const PortConfig config_;
    const std::unique_ptr<FrontEnd> front_end_;
    std::mutex mutex_;        // all below but the counters, the atomics and what is thread-safe
    std::optional<Tap> tap_;  // none: awaited
    std::vector<std::unique_ptr<Pair>> pairs_;
    const std::unique_ptr<QueueCounters[]> counters_;  // by ring, the control queue last
    std::vector<QueueStats> zero_;  // what the counters were when they were reset
    Complaints complaints_;
    HostFault host_fault_{complaints_};

    int vid_ = -1;  // of the device that is up
    bool quiesced_ = false;
    bool loaded_ = false;
    bool fresh_ = false;         // the device came up and was not loaded yet
    std::vector<bool> enabled_;  // by ring

    // While loaded.
    uint64_t features_ = 0;
    GuestMemory memory_;
    DirtyLog log_;

    std::atomic<unsigned> served_pairs_{0};
    std::atomic<unsigned> pair_limit_{0};  // what the control queue said; in the worker of pair 0
    std::chrono::steady_clock::time_point next_limit_change_{};  // there, too
};

}  // namespace vdpa::engine::relay
