// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/queue_pair.hpp"

#include <sys/epoll.h>

#include <utility>

namespace vdpa::engine::relay {

namespace {

bool usable(const std::unique_ptr<Ring> &ring) {
    return ring != nullptr && !ring->broken();
}

/* Edge-triggered: the counter behind a descriptor need never be read, and a TAP that has frames for
 * which there are no buffers stays silent. */
void add(int epoll_fd, int fd, EventSource &source) {
    if (fd >= 0) {
        epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = &source}};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

void remove(int epoll_fd, int fd) {
    if (fd >= 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
    }
}

}  // namespace

QueuePair::QueuePair()
    : tap_source_{this, EventSource::Kind::tap},
      receive_source_{this, EventSource::Kind::receive_kick},
      transmit_source_{this, EventSource::Kind::transmit_kick},
      control_source_{this, EventSource::Kind::control_kick} {}

void QueuePair::load(Rings rings, uint64_t features, std::function<bool(uint16_t)> set_pairs) {
    rings_ = std::move(rings);
    receiver_ = std::make_unique<Receiver>(*rings_.receive, rings_.tap_fd, features);
    transmitter_.emplace(*rings_.transmit, rings_.tap_fd, features);
    if (rings_.control) {
        control_.emplace(*rings_.control, features, std::move(set_pairs));
    }
    frames_waiting_ = rings_.receives;
    short_of_buffers_ = false;
    insist_ = false;
    must_poll_ = rings_.receive->kick_fd() < 0 || rings_.transmit->kick_fd() < 0 ||
                 (rings_.control && rings_.control->kick_fd() < 0);
    last_work_ = 0;
    spin_time_ = SpinTime{};
    rests_since_.reset();
}

QueuePair::Rings QueuePair::unload() {
    receiver_.reset();
    transmitter_.reset();
    control_.reset();
    return std::exchange(rings_, Rings{});
}

void QueuePair::watch(int epoll_fd) {
    if (rings_.receives) {
        add(epoll_fd, rings_.tap_fd, tap_source_);
    }
    add(epoll_fd, rings_.receive->kick_fd(), receive_source_);
    add(epoll_fd, rings_.transmit->kick_fd(), transmit_source_);
    if (rings_.control) {
        add(epoll_fd, rings_.control->kick_fd(), control_source_);
    }
    kicks_off();
}

void QueuePair::unwatch(int epoll_fd) {
    if (rings_.receives) {
        remove(epoll_fd, rings_.tap_fd);
    }
    remove(epoll_fd, rings_.receive->kick_fd());
    remove(epoll_fd, rings_.transmit->kick_fd());
    if (rings_.control) {
        remove(epoll_fd, rings_.control->kick_fd());
    }
}

void QueuePair::wake(EventSource::Kind kind) {
    switch (kind) {
        case EventSource::Kind::tap:
            frames_waiting_ = true;
            break;
        case EventSource::Kind::receive_kick:
            rings_.receive->counters().kicks.add(1);
            break;
        case EventSource::Kind::transmit_kick:
            rings_.transmit->counters().kicks.add(1);
            break;
        case EventSource::Kind::control_kick:
            rings_.control->counters().kicks.add(1);
            break;
    }
    if (state != Turn::active) {
        kicks_off();
    }
}

bool QueuePair::waited_enough(Time since, Time now) {
    insist_ = now - since >= patience;
    return insist_ || (must_poll_ && now - since >= poll_interval);
}

void QueuePair::kicks_off() {
    for (const auto *ring : {&rings_.receive, &rings_.transmit, &rings_.control}) {
        if (usable(*ring)) {
            (*ring)->queue().disable_kicks();
        }
    }
}

QueuePair::Turn QueuePair::turn(Time now, Segments &scratch) {
    if (move(scratch)) {
        if (rests_since_) {
            spin_time_.woken_after(now - *rests_since_);
            rests_since_.reset();
        }
        last_work_ = now;
        return Turn::active;
    }
    if (now - last_work_ < spin_time_.get()) {
        return Turn::active;
    }
    const Turn resting = rest();
    if (resting != Turn::active && !rests_since_) {
        rests_since_ = now;
    }
    return resting;
}

bool QueuePair::move(Segments &scratch) {
    bool moved = false;
    if (control_ && usable(rings_.control)) {
        moved = control_->burst(scratch) != 0;
    }
    if (usable(rings_.transmit)) {
        moved = transmitter_->burst(scratch) != 0 || moved;
    }
    if (frames_waiting_ && usable(rings_.receive)) {
        moved = receive() || moved;
    }
    return moved;
}

bool QueuePair::receive() {
    unsigned frames = 0;
    const Receiver::Result result = receiver_->burst(insist_, frames);
    insist_ = false;
    frames_waiting_ = result == Receiver::Result::more || result == Receiver::Result::no_space;
    short_of_buffers_ = result == Receiver::Result::no_space;
    return frames != 0 || result == Receiver::Result::more;
}

QueuePair::Turn QueuePair::rest() {
    for (const auto *ring : {&rings_.transmit, &rings_.control}) {
        if (usable(*ring)) {
            (*ring)->queue().enable_kicks();
            if ((*ring)->queue().available()) {
                kicks_off();
                return Turn::active;
            }
        }
    }
    bool wait = must_poll_;
    if (short_of_buffers_ && usable(rings_.receive)) {
        rings_.receive->queue().enable_kicks();
        if (rings_.receive->queue().available()) {
            kicks_off();
            return Turn::active;
        }
        wait = wait || receiver_->has_buffers();
    }
    return wait ? Turn::waiting : Turn::asleep;
}

}  // namespace vdpa::engine::relay
