// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/pulse.hpp"
#include "engine/relay/stats.hpp"
#include "schema/support/error.hpp"

/* The software datapath of an emulated VF: frames pass between the virtqueues of a vhost-user
 * front-end and the queues of a TAP netdev, in one copy by the kernel (readv and writev straight
 * from and to guest memory), with the virtio-net header passed through, so that checksum and
 * segmentation offloads reach from the guest to whatever the TAP is attached to. */
namespace vdpa::engine::relay {

class FrontEnd;
class PortState;
class Tap;
class Worker;

/* The threads that move the packets. Queue pairs are spread over them when ports are attached. A
 * worker polls the rings that have traffic and sleeps on file descriptors when there is none. Must
 * outlive every Port. Thread-safe. */
class Workers {
  public:
    /* One worker on each of `cpus`; with none given, one worker that is not pinned. Error:
     * engine-error when a thread cannot be made or pinned. */
    static Expected<std::unique_ptr<Workers>> start(const std::vector<unsigned> &cpus);
    ~Workers();
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    size_t count() const { return workers_.size(); }
    /* One of each worker. */
    std::vector<Pulse> pulses() const;
    /* The worker with the fewest queue pairs, which now has one more; give it back by `release`. */
    Worker &assign();
    static void release(Worker &worker);

  private:
    Workers() = default;
    std::vector<std::unique_ptr<Worker>> workers_;
};

struct PortConfig {
    std::string name;    // of the port, for the log
    std::string netdev;  // the TAP netdev, which must exist and be persistent
    uint16_t
        max_queue_pairs;  // 1 to 128; the rings are 0 to 2 * max_queue_pairs, control ring included
    bool takes_over = false;  // a Port of this process has the netdev open, and lets go of it first
    bool netdev_awaited = false;  // the netdev is not there yet, and comes by use_netdev()
};

/* One emulated VF: a TAP netdev and, at times, a front-end.
 *
 * Threads: the functions marked (F) are for the vhost library's event thread; they wait for the
 * workers of this port, at most one burst of another port, and for the kernel's rtnl lock, and for
 * nothing else. stats(), fault() and enabled_queue_pairs() are for any thread. The destructor may
 * run in any thread once no (F) function can be called any more (rte_vhost_driver_unregister has
 * returned).
 *
 * In the vhost library, the port wants:
 * - features restricted by rte_vhost_driver_disable_features(path, ~Port::features(...)), *not* by
 *   rte_vhost_driver_set_features: the latter turns off the library's knowledge that a net device
 * runs as soon as rings 0 and 1 do, and then no guest that enables fewer pairs than there are ever
 * runs.
 * - rte_vhost_driver_callback_register with new_device, destroy_device, vring_state_changed and
 *   new_connection; in new_connection rte_vhost_extern_callback_register with pre_msg_handle and
 *   post_msg_handle.
 * - pre_msg_handle: if (!port.quiesce()) answer RTE_VHOST_MSG_RESULT_ERR, for the messages
 * SET_FEATURES, SET_MEM_TABLE, SET_LOG_BASE, SET_VRING_NUM, _ADDR, _BASE, _KICK, _CALL, _ENABLE and
 * GET_VRING_BASE; post_msg_handle: port.resume() for the same. The library skips post_msg_handle
 * when it failed. */
class Port {
  public:
    /* Looks at the existing TAP netdev, unless it is awaited; it stays without carrier. Never makes
     * a netdev. By one that is not multi-queue, all that the guest receives comes by its first
     * pair. Errors: bad-max-queues; netdev-missing; tap-failed. */
    static Expected<std::unique_ptr<Port>> attach(Workers &workers, const PortConfig &config);
    /* The same with another source of rings and memory than the vhost library. */
    static Expected<std::unique_ptr<Port>> attach(Workers &workers, const PortConfig &config,
                                                  std::unique_ptr<FrontEnd> front_end);
    /* Waits for the workers to let go, then closes the TAP, which loses its carrier and stays. */
    ~Port();
    Port(const Port &) = delete;
    Port &operator=(const Port &) = delete;

    /* The virtio and vhost-user feature bits to offer. `offloads`: checksum and segmentation, both
     * ways. They are all among those the vhost library knows. */
    static uint64_t features(bool packed, bool offloads);

    /* (F) A front-end was accepted: what an earlier one left is forgotten. */
    void new_connection();
    /* (F) new_device: takes the negotiated features, memory table and rings from the library, and
     * serves the rings that are enabled. */
    void device_up(int vid);
    /* (F) destroy_device: no ring, memory or descriptor of the device is touched after it returned,
     * and the library holds the ring indices. */
    void device_down();
    /* (F) vring_state_changed. */
    void ring_enabled(uint16_t ring, bool on);
    /* (F) After it returned true, no worker touches the rings, the memory or the descriptors of
     * the device until resume(), and the library holds the ring indices (as GET_VRING_BASE wants).
     * Does not nest. False: an earlier message was never resumed, that is, failed in the library,
     * whose memory table may be gone; the connection cannot go on, only device_down and
     * new_connection follow. */
    [[nodiscard]] bool quiesce();
    /* (F) Takes everything from the library again and goes on. */
    void resume();

    /* Opens an existing TAP netdev for use_netdev(), in any thread, and waits for the kernel's rtnl
     * lock. `max_queue_pairs`: what it was made for. Errors: netdev-missing; tap-failed. */
    static Expected<std::shared_ptr<Tap>> open_netdev(const std::string &netdev,
                                                      unsigned max_queue_pairs);
    /* Not beside an (F) function: the netdev that was awaited, which serves the front-end if one is
     * there; until now that has been like one that faces a switch without a link. Not taken by a
     * port that has its netdev. Takes as long as resume(). */
    void use_netdev(const std::shared_ptr<Tap> &tap);

    /* Not beside an (F) function: another attempt at what the host has refused, if it has and it is
     * time for one. Takes as long as resume(). */
    void recover(std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now());
    /* What the host refuses now, and what does not work for that; from the newest attempt. Errors:
     * tap-failed, netdev-missing. */
    std::optional<Error> fault() const;

    /* By ring number, vhost's order: 2n receives into the guest's pair n, 2n+1 transmits from it;
     * the last is the control queue. */
    std::vector<QueueStats> stats() const;
    /* Has the counters begin at 0 again. Not while stats() is called. */
    void reset_stats();
    /* Pairs that are served now: 0 when no front-end runs. */
    unsigned enabled_queue_pairs() const;
    unsigned max_queue_pairs() const;

  private:
    explicit Port(std::unique_ptr<PortState> state);
    std::unique_ptr<PortState> state_;
};

}  // namespace vdpa::engine::relay
