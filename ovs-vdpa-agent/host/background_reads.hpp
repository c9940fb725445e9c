// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vdpa::agent::host {

/* Reads what the kernel may take seconds to tell. It handles a netlink request in the call that
 * sends it, so the sender waits for whoever is at work on the device: for an eswitch that changes
 * its mode (devl_lock), for a vDPA device that is deleted while it is open (vdpa_dev_lock). Hence
 * each read has a thread of its own for as long as it lasts, and none holds up another.
 *
 * Lives on the control thread. */
class BackgroundReads {
  public:
    /* Carries the answer to the control thread: run there, or never. */
    using Answer = std::function<void()>;
    using Read = std::function<Answer()>;

    explicit BackgroundReads(boost::asio::io_context &io);
    /* Answers that are still to come are dropped. A thread that waits in the kernel is not waited
     * for: it holds nothing but what `read` does. */
    ~BackgroundReads();

    /* Calls `read` on another thread, then its answer and `done` on this one. Of one key, one read
     * is under way at a time. Asked for meanwhile, another follows, one however often it is asked
     * for, and later the more processor time they take: they never take more than a fifth of it.
     * `read` must own all it uses, and not throw. */
    void run(const std::string &key, Read read, std::function<void()> done = {});

  private:
    struct Job {
        Read read;
        std::vector<std::function<void()>> done;
    };
    struct Entry {
        explicit Entry(boost::asio::io_context &io) : pause(io) {}
        Job running;
        Job next;  // without `read`: none
        bool is_busy = false;
        boost::asio::steady_timer pause;
    };
    /* What the threads know of this; `owner` is null once it has gone, and is only used on the
     * control thread. */
    struct Shared;

    void start(const std::string &key);
    void finish(const std::string &key, const Answer &answer, std::chrono::nanoseconds cost);

    boost::asio::io_context &io_;
    std::shared_ptr<Shared> shared_;
    std::map<std::string, Entry> entries_;
};

}  // namespace vdpa::agent::host
