// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vdpa::agent::host {

/* Reads what the kernel may take seconds to tell, or a name service minutes. The kernel handles a
 * netlink request in the call that sends it, so the sender waits for whoever is at work on the
 * device: for an eswitch that changes its mode (devl_lock), for a vDPA device that is deleted while
 * it is open (vdpa_dev_lock). Hence each read has a thread of its own for as long as it lasts, and
 * none holds up another.
 *
 * Lives on the control thread. */
class BackgroundReads {
  public:
    /* Carries the answer to the control thread: run there, or never. */
    using Answer = std::function<void()>;
    using Read = std::function<Answer()>;

    /* Beyond `most_threads` at a time, reads wait for others to end. */
    explicit BackgroundReads(boost::asio::io_context &io, size_t most_threads = SIZE_MAX);
    /* Answers that are still to come are dropped. A thread that still waits is not waited
     * for: it holds nothing but what `read` does. */
    ~BackgroundReads();

    /* Calls `read` on another thread, then its answer and `done` on this one. Of one key, one read
     * is under way at a time. Asked for meanwhile, another follows, one however often it is asked
     * for, and later the more processor time they take: they never take more than a fifth of it.
     * `read` must own all it uses, and not throw. */
    void run(const std::string &key, Read read, std::function<void()> done = {});

    /* What has been asked for of that key and has not begun is not done; `done` is not called. */
    void drop(const std::string &key);

    /* How many there are of which something is read, or was a moment ago. */
    size_t keys() const { return entries_.size(); }

  private:
    struct Job {
        Read read;
        std::vector<std::function<void()>> done;
    };
    struct Entry {
        explicit Entry(boost::asio::io_context &io) : pause(io) {}
        std::vector<std::function<void()>> done;  // of the read that is under way
        Job next;                                 // without `read`: none
        bool is_busy = false;  // a read is under way, waits for a thread, or has just been
        boost::asio::steady_timer pause;
    };
    /* What the threads know of this; `owner` is null once it has gone, and is only used on the
     * control thread. */
    struct Shared;

    void start(const std::string &key);
    void start_waiting();
    void finish(const std::string &key, const Answer &answer, std::chrono::nanoseconds cost);
    void rest(const std::string &key, std::chrono::nanoseconds pause);
    void end_rest(const std::string &key);

    boost::asio::io_context &io_;
    const size_t most_threads_;
    std::shared_ptr<Shared> shared_;
    std::map<std::string, Entry> entries_;
    size_t threads_ = 0;
    std::deque<std::string> waiting_;  // keys, for a thread
};

}  // namespace vdpa::agent::host
