// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

struct RetryIntervals {
    std::chrono::milliseconds first{200};
    std::chrono::milliseconds last{30'000};
};

/* A timer for what has failed, with intervals that grow with every failure. Lives on the thread of
 * the io_context. */
class RetryTimer {
  public:
    explicit RetryTimer(boost::asio::io_context &io, RetryIntervals intervals = {});

    /* It has failed (again): calls `act` after the next interval. Until that, further failures
     * change nothing: many at once are one, and those that never end do not put it off. */
    void after_failure(std::function<void()> act);
    /* It has not: nothing is called, and the intervals begin anew. */
    void reset();

  private:
    const RetryIntervals intervals_;
    std::chrono::milliseconds interval_{0};
    std::shared_ptr<std::function<void()>> pending_;  // what is to be called; null: nothing
    boost::asio::steady_timer timer_;
};

/* Something that is read from the kernel, such as the list of netdevs. Where that does not work,
 * memory or descriptors being short, say, nothing notifies of when it is time to try again: so it
 * is tried at growing intervals. Logs once that it does not work, and once that it does again.
 *
 * Lives on the thread of the io_context. */
class ReadRetry {
  public:
    /* `what` begins the sentence of the problem: "netdevs cannot be listed". `again` reads; it has
     * to lead to failed() or succeeded(), or to another try by whoever. `changed` is called when
     * problem() is not what it was. `module` must outlive this. */
    ReadRetry(boost::asio::io_context &io, const log::Module &module, std::string what,
              std::function<void()> again, std::function<void()> changed,
              RetryIntervals intervals = {});

    /* `why`: the answer of the kernel. */
    void failed(const std::string &why);
    void succeeded();

    /* What the operator is to be told; empty: the last reading has worked. */
    const std::string &problem() const { return problem_; }

  private:
    const log::Module &module_;
    const std::string what_;
    const std::function<void()> again_;
    const std::function<void()> changed_;
    RetryTimer timer_;
    std::string problem_;
};

}  // namespace vdpa::agent::host
