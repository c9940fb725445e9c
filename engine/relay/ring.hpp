// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/relay/call.hpp"
#include "engine/relay/guest_memory.hpp"
#include "engine/relay/log.hpp"
#include "engine/relay/stats.hpp"
#include "engine/relay/virtqueue.hpp"

namespace vdpa::engine::relay {

/* A virtqueue in service, with the descriptors that go with it. One owner at a time: the worker
 * while it is served, whoever starts and stops it at other times. */
class Ring {
  public:
    /* The descriptors in `setup` stay as they are and must be open as long as the ring is used, and
     * so must `caller`, whose thread serves the ring. When `setup` cannot be served, the ring is
     * broken from the start. */
    Ring(unsigned number, const RingSetup &setup, uint64_t features, const GuestMemory &memory,
         const DirtyLog &log, QueueCounters &counters, Complaints &complaints, Caller &caller);

    /* Not of a ring that is broken: there may be none. */
    Virtqueue &queue() { return *queue_; }
    const DirtyLog &log() const { return log_; }
    QueueCounters &counters() { return counters_; }
    int kick_fd() const { return kick_fd_; }

    /* A broken ring is left alone: only a driver that sets it up anew can mend it. */
    bool broken() const { return counters_.broken.load(std::memory_order_relaxed); }
    void mark_broken();

    /* Shows the driver what was used, and notifies it if it wants that. */
    void publish();
    /* Where another back-end goes on. */
    uint16_t position() const { return queue_ ? queue_->position() : position_; }

  private:
    std::unique_ptr<Virtqueue> queue_;
    DirtyLog log_;
    QueueCounters &counters_;
    Complaints &complaints_;
    unsigned number_;
    int kick_fd_;
    CallDescriptor call_;
    uint16_t position_;
};

}  // namespace vdpa::engine::relay
