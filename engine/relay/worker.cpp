// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/worker.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>

#include "engine/log.hpp"
#include "engine/relay/relay.hpp"

namespace vdpa::engine::relay {

namespace {

Time now_ns() {
    return static_cast<Time>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::steady_clock::now().time_since_epoch())
                                 .count());
}

}  // namespace

Expected<void> Worker::start(unsigned index, std::optional<unsigned> cpu) {
    name_ = "relay-" + std::to_string(index);
    epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
    wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
    if (!epoll_ || !wake_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
        return fail(schema::Reason::engine_error,
                    "worker " + name_ + " cannot be made: " + errno_text(errno));
    }
    if (auto opened = caller_.open(); !opened) {
        VDPA_LOG(warn, "relay",
                 "worker %s: %s: a front-end can hold up all that it serves by making its "
                 "descriptors for interrupts blocking",
                 name_.c_str(), opened.error().detail.c_str());
    }
    try {
        thread_ = std::thread([this] { run(); });
    } catch (const std::system_error &error) {
        return fail(schema::Reason::engine_error,
                    "worker " + name_ + " cannot be started: " + error.what());
    }
    pthread_setname_np(thread_.native_handle(), name_.c_str());
    if (cpu) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        if (*cpu < CPU_SETSIZE) {
            CPU_SET(*cpu, &cpus);
        }
        const int error = pthread_setaffinity_np(thread_.native_handle(), sizeof cpus, &cpus);
        if (error != 0) {
            return fail(schema::Reason::engine_error, "worker " + name_ + " cannot run on CPU " +
                                                          std::to_string(*cpu) + ": " +
                                                          errno_text(error));
        }
    }
    return {};
}

Worker::~Worker() {
    if (thread_.joinable()) {
        stopping_.store(true, std::memory_order_release);
        eventfd_write(wake_.get(), 1);
        thread_.join();
    }
}

void Worker::begin(Request &request) {
    {
        const std::lock_guard lock(mutex_);
        requests_.push_back(&request);
        requested_.store(true, std::memory_order_release);
    }
    eventfd_write(wake_.get(), 1);
}

void Worker::wait(const Request &request) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&request] { return request.done; });
}

Pulse Worker::pulse() {
    // What it may wait for is the kernel's rtnl lock, and guest memory that is read from a disk.
    return {.thread = name_,
            .patience = std::chrono::seconds(10),
            .ask =
                [this] {
                    asked_.fetch_add(1, std::memory_order_relaxed);
                    eventfd_write(wake_.get(), 1);
                },
            .beats = [this] { return beats_.load(std::memory_order_relaxed); }};
}

void Worker::run() {
    while (!stopping_.load(std::memory_order_acquire)) {
        beats_.store(asked_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        // Milliseconds: QueuePair::poll_interval.
        const int idle_timeout = waiting_.empty() ? -1 : 1;
        collect_events(active_.empty() ? idle_timeout : 0);
        answer_requests();
        const Time now = now_ns();
        end_waits(now);
        take_turns(now);
    }
}

void Worker::collect_events(int timeout_ms) {
    std::array<epoll_event, 64> events;
    const int count =
        epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
    // All are dealt with before a request can take a pair away that one of them is about.
    for (int n = 0; n < count; n++) {
        const auto *source =
            static_cast<const EventSource *>(events[static_cast<size_t>(n)].data.ptr);
        if (source != nullptr) {
            source->pair->wake(source->kind);
            enlist(*source->pair, QueuePair::Turn::active);
        }
    }
}

void Worker::answer_requests() {
    if (!requested_.load(std::memory_order_acquire)) {
        return;
    }
    std::unique_lock lock(mutex_);
    for (Request *request : requests_) {
        for (QueuePair *pair : request->pairs) {
            if (request->what == Request::What::serve) {
                pair->watch(epoll_.get());
                enlist(*pair, QueuePair::Turn::active);
            } else {
                pair->unwatch(epoll_.get());
                unlist(*pair);
            }
        }
        request->done = true;
    }
    requests_.clear();
    requested_.store(false, std::memory_order_relaxed);
    lock.unlock();
    done_.notify_all();
}

void Worker::end_waits(Time now) {
    for (QueuePair *pair = waiting_.front(); pair != nullptr;) {
        QueuePair *const next = pair->next;
        if (pair->waited_enough(pair->waiting_since, now)) {
            enlist(*pair, QueuePair::Turn::active);
        }
        pair = next;
    }
}

void Worker::take_turns(Time now) {
    for (size_t turns = active_.size(); turns != 0 && !active_.empty(); turns--) {
        QueuePair &pair = *active_.front();
        unlist(pair);
        const QueuePair::Turn state = pair.turn(now, scratch_);
        pair.waiting_since = now;
        enlist(pair, state);
        answer_requests();
    }
}

PairList *Worker::list(QueuePair::Turn state) {
    switch (state) {
        case QueuePair::Turn::active:
            return &active_;
        case QueuePair::Turn::waiting:
            return &waiting_;
        case QueuePair::Turn::asleep:
            break;
    }
    return nullptr;
}

void Worker::enlist(QueuePair &pair, QueuePair::Turn state) {
    if (pair.state != state) {
        unlist(pair);
        pair.state = state;
        if (PairList *to = list(state); to != nullptr) {
            to->push_back(pair);
        }
    }
}

void Worker::unlist(QueuePair &pair) {
    if (PairList *from = list(pair.state); from != nullptr) {
        from->remove(pair);
    }
    pair.state = QueuePair::Turn::asleep;
}

Workers::~Workers() = default;

Expected<std::unique_ptr<Workers>> Workers::start(const std::vector<unsigned> &cpus) {
    std::unique_ptr<Workers> workers(new Workers);
    const size_t count = std::max<size_t>(cpus.size(), 1);
    for (unsigned index = 0; index < count; index++) {
        workers->workers_.push_back(std::make_unique<Worker>());
        const auto cpu = cpus.empty() ? std::nullopt : std::optional(cpus[index]);
        if (auto started = workers->workers_.back()->start(index, cpu); !started) {
            return tl::make_unexpected(started.error());
        }
    }
    return workers;
}

std::vector<Pulse> Workers::pulses() const {
    std::vector<Pulse> pulses;
    for (const auto &worker : workers_) {
        pulses.push_back(worker->pulse());
    }
    return pulses;
}

Worker &Workers::assign() {
    const auto fewest = std::min_element(
        workers_.begin(), workers_.end(),
        [](const auto &a, const auto &b) { return a->assigned.load() < b->assigned.load(); });
    (*fewest)->assigned++;
    return **fewest;
}

void Workers::release(Worker &worker) {
    worker.assigned--;
}

}  // namespace vdpa::engine::relay
