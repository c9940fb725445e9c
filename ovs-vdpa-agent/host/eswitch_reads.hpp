// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>

#include "ovs-vdpa-agent/host/background_reads.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"
#include "ovs-vdpa-agent/host/read_retry.hpp"

namespace vdpa::agent::host {

/* Asks the kernel for the mode of the device's eswitch (DEVLINK_CMD_ESWITCH_GET of
 * linux/devlink.h); `unsupported` where the device has none. Blocks for as long as the device is
 * busy. */
NetResult<Pf::Eswitch> request_eswitch(const Handle &device);

/* Reads the modes of eswitches, in the background. One that could not be read, because the device
 * is being reset, say, or memory is short, is asked again at growing intervals until it can:
 * nothing notifies of when it is time to.
 *
 * Lives on the control thread. */
class EswitchReads {
  public:
    using Ask = std::function<NetResult<Pf::Eswitch>(const Handle &)>;
    /* Is told each answer, on the control thread. Returns whether there is such a device still; if
     * not, it is not asked again. */
    using Take = std::function<bool(const Handle &, const NetResult<Pf::Eswitch> &)>;

    /* `reads` must outlive this. `ask` is called on other threads, also after this has gone. */
    EswitchReads(boost::asio::io_context &io, BackgroundReads &reads, Take take,
                 Ask ask = request_eswitch, RetryIntervals intervals = {});

    /* Asks now; calls `done` after the answer was taken. */
    void read(const Handle &device, std::function<void()> done = {});
    /* The device has gone: it is not asked again. */
    void forget(const Handle &device) { again_.erase(device); }

  private:
    void finish(const Handle &device, const NetResult<Pf::Eswitch> &answer);

    boost::asio::io_context &io_;
    BackgroundReads &reads_;
    const Take take_;
    const Ask ask_;
    const RetryIntervals intervals_;
    std::map<Handle, RetryTimer> again_;
};

}  // namespace vdpa::agent::host
