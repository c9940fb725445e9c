// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/pulse.hpp"
#include "engine/relay/call.hpp"
#include "engine/relay/pair_list.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::relay {

/* One thread that serves queue pairs. What it owns of a pair it owns from start_serving() to
 * stop_serving(), which other threads call; the rest is its own. */
class Worker {
  public:
    Worker() = default;
    ~Worker();  // joins; no pair may be left
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;

    /* Once. `index` makes the thread's name. Error: engine-error. */
    Expected<void> start(unsigned index, std::optional<unsigned> cpu);

    /* What another thread asks of this one: it is carried out between two bursts. Begin it on
     * several workers, then wait for each. */
    struct Request {
        enum class What { serve, let_go } what;
        std::span<QueuePair *const> pairs;
        bool done = false;
    };
    void begin(Request &request);
    void wait(const Request &request);

    /* A beat is a round over all pairs that have something to do. */
    Pulse pulse();

    /* For the rings that it serves. */
    Caller &caller() { return caller_; }

    std::atomic<unsigned> assigned{0};  // queue pairs that belong here, served or not

  private:
    void run();
    void answer_requests();
    void collect_events(int timeout_ms);
    void end_waits(Time now);
    void take_turns(Time now);
    void enlist(QueuePair &pair, QueuePair::Turn state);
    void unlist(QueuePair &pair);
    PairList *list(QueuePair::Turn state);

    std::string name_;
    std::thread thread_;
    UniqueFd epoll_, wake_;
    // The worker looks at `requested_` once a burst, and takes the mutex only when there is
    // something.
    std::atomic<bool> requested_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<uint64_t> asked_{0};  // for a beat
    std::atomic<uint64_t> beats_{0};
    std::mutex mutex_;
    std::condition_variable done_;
    std::vector<Request *> requests_;

    Caller caller_;
    PairList active_, waiting_;
    Segments scratch_;
};

}  // namespace vdpa::engine::relay
