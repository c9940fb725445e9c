// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/relay/control.hpp"
#include "engine/relay/receiver.hpp"
#include "engine/relay/spin_time.hpp"
#include "engine/relay/transmitter.hpp"

namespace vdpa::engine::relay {

class QueuePair;

/* A descriptor in a worker's epoll set: whose it is and what it tells. */
struct EventSource {
    enum class Kind { tap, receive_kick, transmit_kick, control_kick };
    QueuePair *pair;
    Kind kind;
};

/* The rings of one queue pair between a front-end and one queue of the TAP; the first pair has the
 * control queue too. Served by one worker.
 *
 *                 kick, frame at the TAP                no work for SpinTime, kicks asked for
 *     (asleep) ---------------------------> (active) ----------------------------> (asleep)
 *                                            |    ^
 *        frames wait, guest short of buffers |    | kick, or patience is over
 *                                            v    |
 *                                           (waiting)
 *
 * Active pairs are polled in turn, the others cost nothing. */
class QueuePair {
  public:
    /* How long frames wait for the guest to post enough buffers for the longest possible one. After
     * that they are tried on what is there. */
    static constexpr Time patience = 100'000'000;
    /* How often a ring is looked at whose front-end gave no descriptor for kicks. */
    static constexpr Time poll_interval = 1'000'000;

    enum class Turn { active, waiting, asleep };

    struct Rings {
        std::unique_ptr<Ring> receive, transmit, control;  // control may be null
        int tap_fd = -1;
        bool receives = true;  // frames come from the TAP for this pair
    };

    QueuePair();
    QueuePair(const QueuePair &) = delete;
    QueuePair &operator=(const QueuePair &) = delete;

    /* Takes and gives back what is served. Not while a worker has the pair. */
    void load(Rings rings, uint64_t features, std::function<bool(uint16_t)> set_pairs);
    Rings unload();
    bool loaded() const { return rings_.receive != nullptr; }

    /* For the worker. Whether the descriptors are in its epoll set: `epoll_fd`. */
    void watch(int epoll_fd);
    void unwatch(int epoll_fd);
    /* Something happened; the pair is active now. */
    void wake(EventSource::Kind kind);
    /* Whether a pair that waits since `since` shall be active again. */
    bool waited_enough(Time since, Time now);
    /* Moves a burst in each direction. */
    Turn turn(Time now, Segments &scratch);

    // Of the worker's lists.
    Turn state = Turn::asleep;
    Time waiting_since = 0;
    QueuePair *next = nullptr;
    QueuePair *previous = nullptr;

  private:
    bool move(Segments &scratch);
    bool receive();
    Turn rest();
    void kicks_off();

    Rings rings_;
    std::optional<Transmitter> transmitter_;
    std::unique_ptr<Receiver> receiver_;  // large
    std::optional<Control> control_;
    EventSource tap_source_, receive_source_, transmit_source_, control_source_;

    bool frames_waiting_ = false;  // the TAP may have frames
    bool short_of_buffers_ = false;
    bool insist_ = false;
    bool must_poll_ = false;  // a ring without a descriptor to kick
    Time last_work_ = 0;
    SpinTime spin_time_;
    std::optional<Time> rests_since_;
};

}  // namespace vdpa::engine::relay
