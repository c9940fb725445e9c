// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <set>
#include <string>

#include "ovs-vdpa-agent/host/background_reads.hpp"
#include "ovs-vdpa-agent/host/devlink_state.hpp"
#include "ovs-vdpa-agent/host/eswitch_reads.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"
#include "ovs-vdpa-agent/host/read_retry.hpp"

namespace vdpa::agent::host {

/* What devlink devices and ports there are. Subscribes, then reads everything, then follows the
 * notifications, which carry all that a port has; what was notified while everything was read wins
 * over what was read. When notifications are lost (ENOBUFS), everything is read again. What does
 * not work of that is tried until it does.
 *
 * The mode of an eswitch is never notified; it is read when it is asked for.
 *
 * Lives on the control thread; all requests are made in the background, so a device that is busy
 * for seconds delays what is read of it, and nothing that is notified of others. */
class DevlinkMonitor {
  public:
    /* `changed` is called after each difference; many calls may follow each other. `reads` must
     * outlive this. */
    DevlinkMonitor(boost::asio::io_context &io, BackgroundReads &reads,
                   std::function<void()> changed, RetryIntervals intervals = {});

    /* `buffer_size`: of the receive buffer, in bytes; 0 stands for 4 MiB. */
    void start(int buffer_size = 0);

    /* Everything was read once, or there is no devlink, or it cannot be listened to now. */
    bool is_ready() const { return is_ready_; }
    /* Why it cannot be read or listened to, a sentence for the operator; empty: it can. */
    const std::string &problem() const { return listing_.problem(); }
    const DevlinkState &state() const { return state_; }

    /* Devices of which ports or which themselves came or went since the last call. */
    std::set<Handle> take_stirred() { return std::exchange(stirred_, {}); }
    /* Asks for the mode of the eswitch. A device without one has `unsupported`; one that could not
     * be asked keeps what it has, has an error in the state, and is asked again. */
    void read_eswitch(const Handle &device, std::function<void()> done = {}) {
        eswitches_.read(device, std::move(done));
    }

    /* How often notifications were lost. */
    unsigned overruns() const { return overruns_; }

  private:
    static int on_message(nl_msg *message, void *self) noexcept;
    void open();
    void listen(NlSocket socket);
    void wait();
    void receive();
    void take(const DevlinkMessage &message);
    void read_everything();
    void take_everything(DevlinkState state);
    bool take_eswitch(const Handle &device, const NetResult<Pf::Eswitch> &answer);

    BackgroundReads &reads_;
    std::function<void()> changed_;
    EswitchReads eswitches_;
    NlSocket socket_;
    boost::asio::posix::stream_descriptor descriptor_;
    ReadRetry listing_;
    int buffer_size_ = 0;
    DevlinkState state_;
    bool is_ready_ = false;
    bool is_reading_ = false;
    bool read_again_ = false;
    /* Notified of while everything was being read. */
    std::set<Handle> touched_devices_;
    std::set<DevlinkState::PortKey> touched_ports_;
    std::set<Handle> stirred_;
    unsigned overruns_ = 0;
};

}  // namespace vdpa::agent::host
