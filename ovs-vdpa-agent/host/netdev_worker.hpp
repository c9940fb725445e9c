// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "ovs-vdpa-agent/host/netdev_service.hpp"
#include "ovs-vdpa-agent/host/tap.hpp"

namespace vdpa::agent::host {

/* Carries netdev requests out on a thread of its own, so that the control thread never waits for
 * the kernel. Deleting a netdev takes the kernel some 20 ms; so that hundreds of them do not hold
 * up the ports that are being made, removals wait while there is anything else to do for another
 * name. */
class NetdevWorker : public NetdevService {
  public:
    /* Answers are posted to `control`, which must outlive this. */
    NetdevWorker(boost::asio::io_context &control, Taps taps);
    /* Finishes the request at hand and drops the others. */
    ~NetdevWorker() override;

    void ensure_tap(const std::string &name, const TapSpec &spec,
                    std::function<void(Expected<TapState>)> done) override;
    void remove_tap(const std::string &name, std::function<void(Expected<void>)> done) override;
    void owned_taps(std::function<void(Expected<std::vector<std::string>>)> done) override;

  private:
    struct Job {
        uint64_t number;  // in the order of the requests
        std::string name;
        std::function<void(Taps &)> act;
    };
    void add(std::deque<Job> &queue, const std::string &name, std::function<void(Taps &)> act);
    void run();

    boost::asio::io_context &control_;
    Taps taps_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> jobs_;
    std::deque<Job> removals_;
    uint64_t next_number_ = 0;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace vdpa::agent::host
