// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_vhost.h>
#include <vdpa_driver.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/log.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::device {

/* Passes on that something has changed, until it is stopped. Thread-safe. */
class Announcer {
  public:
    explicit Announcer(std::function<void()> observer) : observer_(std::move(observer)) {}

    void announce() {
        const std::lock_guard lock(mutex_);
        if (observer_) {
            observer_();
        }
    }
    /* Waits for a call that is going on. Not to be called with a lock that the observer takes. */
    void stop() {
        const std::lock_guard lock(mutex_);
        observer_ = nullptr;
    }

  private:
    std::mutex mutex_;
    std::function<void()> observer_;
};

/* Stands between the vhost library and the driver of a vDPA device: as long as it lives, the
 * library finds our operations in the device (struct rte_vdpa_device, DPDK's lib/vhost/
 * vdpa_driver.h), and these call the driver's. So we
 * - learn whether the device could be configured. The library only logs it, and would try again at
 *   every message. Here dev_conf() always succeeds for the library, so that it is its last word;
 *   what failed is tried again by retry(). That is no lie that anybody acts upon: the library
 *   remembers it, and answers with dev_close() in good time;
 * - offer no more than we mean to: queue pairs, features, protocol features;
 * - keep from the driver what would harm it: rings that are not wholly in the guest's memory, more
 *   rings than it has, a memory table that is gone (after a SET_MEM_TABLE that failed, the library
 *   asks for dev_conf() all the same, in which rte_vhost_get_mem_table() reads a null pointer), the
 *   end of a connection that was refused (the library asks for dev_cleanup() all the same, in which
 *   a driver ends what it does for the one that is served);
 * - measure for how long a call has held up the library's event thread.
 *
 * Threads: the library's callbacks, as for (F) in vhost/datapath.hpp, of begin() to message_ends()
 * and of the operations; state(), stats() and reset_stats() are for any thread. set_limits() is not
 * for while a front-end is connected. */
class Forwarder {
  public:
    struct Limits {
        uint64_t features = 0;
        uint64_t protocol_features = 0;
        uint32_t queue_pairs = 0;
    };
    struct State {
        bool configured = false;   // the device runs, as far as its driver knows
        uint32_t queue_pairs = 0;  // of which both rings are enabled
        bool doorbell_mapped = false;
        uint32_t stall_ms = 0;
        std::optional<Error> fault;
    };
    using Clock = std::chrono::steady_clock;

    /* `name` is for messages. `device` must outlive it. */
    Forwarder(std::string name, rte_vdpa_device &device);
    /* Gives the device its own operations back. No socket has it any more. */
    ~Forwarder();
    Forwarder(const Forwarder &) = delete;
    Forwarder &operator=(const Forwarder &) = delete;

    rte_vdpa_device &device() { return device_; }
    /* The driver's own operations. */
    const rte_vdpa_dev_ops &driver() const { return driver_; }

    void set_limits(const Limits &limits);

    /* A front-end has connected. `observer` hears when the state has changed. */
    void begin(int vid, std::shared_ptr<Announcer> observer);
    void end();
    /* Around a message that changes memory or rings; see vhost::Datapath::quiesce(). */
    [[nodiscard]] bool message_begins();
    [[nodiscard]] bool message_ends();

    /* Whether the device should be configured, is not, and it is time for another attempt. */
    bool wants_retry(Clock::time_point now) const;
    /* The next attempt need not wait any more. */
    void hurry();
    /* Tries to configure the device again. On the library's event thread, between messages. */
    void retry();

    State state() const;
    /* Counters by name of each of `rings` rings; a ring that the driver has none for is there
     * without. Nothing at all while the driver is busy. */
    std::vector<schema::QueueStats> stats(uint32_t rings) const;
    void reset_stats(uint32_t rings);
    /* From the driver; see vhost::Datapath::read_config(). */
    bool read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const;

    /* What came of a driver's attempt to hand the doorbell of a ring to the front-end, or to take
     * it back. From any thread of a driver. */
    void on_doorbell(uint32_t ring, bool mapped);

    /* The one that stands before `device`; null: none. */
    static Forwarder *of(const rte_vdpa_device *device);

  private:
    struct Operations;

    /* What the library has in place of the driver's operations. */
    struct Table {
        rte_vdpa_dev_ops operations;  // first: the library's pointer to it is one to all of this
        Forwarder *self;
    };

    void configure(int vid);
    void attempt(int vid);
    Expected<void> check(int vid) const;
    void close(int vid);
    int cleanup(int vid);
    int enable_ring(int vid, int ring, bool on);
    int set_features(int vid);
    template <typename Call>
    int timed(const char *what, Call call);
    void failed(Error error);
    void announce() const;

    const std::string name_;
    rte_vdpa_device &device_;
    rte_vdpa_dev_ops *const original_;
    const rte_vdpa_dev_ops driver_;
    Table table_;

    /* Held in calls of the driver that change the device, and around reading its counters. */
    mutable std::timed_mutex calls_;

    mutable std::mutex mutex_;  // all below; never held in a call
    Limits limits_;
    std::shared_ptr<Announcer> observer_;
    int vid_ = -1;
    /* Connections after which the driver has to clean up: those that were accepted, and those for
     * which it did something since it last did, as RESET_OWNER asks for it in between. */
    std::set<int> to_clean_up_;
    bool in_message_ = false;
    bool message_failed_ = false;  // in the driver
    bool wanted_ = false;          // the library wants the device to be configured
    bool configured_ = false;
    std::optional<Error> fault_;
    std::vector<bool> enabled_;  // by ring
    std::vector<bool> mapped_;   // doorbells, by ring
    uint32_t stall_ms_ = 0;
    Clock::time_point retry_at_{};
    std::chrono::seconds retry_after_{0};
    log::RateLimit fault_limit_;
    log::RateLimit stall_limit_;
};

}  // namespace vdpa::engine::device
