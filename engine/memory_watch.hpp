// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>

#include "schema/support/error.hpp"

namespace vdpa::engine {

/* Has the ports of front-ends that took memory away (vhost::MemoryGuard) end their connections. For
 * the DPDK control thread. */
class MemoryWatch {
  public:
    explicit MemoryWatch(boost::asio::io_context &context);
    /* As stop(). */
    ~MemoryWatch();
    MemoryWatch(const MemoryWatch &) = delete;
    MemoryWatch &operator=(const MemoryWatch &) = delete;

    /* Once, after the EAL has started. Error: engine-error. */
    Expected<void> start();
    /* The context has no work of this one any more. */
    void stop();

  private:
    using Descriptor = boost::asio::posix::stream_descriptor;

    static void wait(const std::shared_ptr<Descriptor> &event);

    const std::shared_ptr<Descriptor> event_;
};

}  // namespace vdpa::engine
