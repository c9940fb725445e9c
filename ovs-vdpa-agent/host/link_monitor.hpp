// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/links.hpp"
#include "ovs-vdpa-agent/host/read_retry.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* What netdevs there are and what addresses they have, kept by rtnetlink notifications. Lives on
 * the control thread and never blocks it for longer than the kernel's rtnl lock takes. The kernel
 * drops notifications when the socket's buffer is full (ENOBUFS): then everything is read again;
 * and where that does not work, it is tried until it does. */
class LinkMonitor {
  public:
    /* Called with the name of every netdev that came, went, was renamed (once for each name), or
     * was set up or down or had ARP switched; and with the old name when an interface index changed
     * hands. */
    using Listener = std::function<void(const std::string &name)>;

    LinkMonitor(boost::asio::io_context &io, Listener listener, RetryIntervals intervals = {});

    /* Called when anything in links() that concerns a device's netdev, rather than a virtual one,
     * or in problems(), is not what it was. Many calls may follow each other. */
    void on_device_change(std::function<void()> listener) {
        device_listener_ = std::move(listener);
    }

    /* Subscribes, and asks for all netdevs. `buffer_size`: of the receive buffer, in bytes; 0
     * stands for 4 MiB. Error: tap-failed, with what of rtnetlink did not work. */
    Expected<void> start(int buffer_size = 0);

    /* Everything was read once. */
    bool is_ready() const { return is_ready_; }
    /* Asks for all netdevs again, in case that what was heard of them is wrong or not all. */
    void refresh();

    /* The netdev of that name as last heard of. */
    const Link *find(const std::string &name) const;
    const Links &links() const { return links_; }

    /* Keeps Links::vf_macs of these netdevs, and of no others, up to date. */
    void watch_vf_macs(const std::set<int> &ifindexes);
    /* Asks for those of all that are watched: of a PF's netdev that is down nothing is notified
     * (netdev_state_change() in net/core/dev.c). They are known afterwards, unless this is called
     * by a listener. */
    void refresh_vf_macs();

    /* How often notifications were lost. */
    unsigned overruns() const { return overruns_; }
    /* What could not be read when it was tried last, each a sentence for the operator. */
    std::vector<std::string> problems() const;

  private:
    static int on_message(nl_msg *message, void *self) noexcept;
    static int on_finish(nl_msg *message, void *self) noexcept;
    static int on_interrupted(nl_msg *message, void *self) noexcept;
    static int on_error(sockaddr_nl *from, nlmsgerr *error, void *self) noexcept;
    bool is_answer(const nlmsghdr *header) const;
    void request_everything();
    void request_dump(int type);
    void request_wanted_vf_macs();
    void refuse_vf_macs(int ifindex, const std::string &why);
    void forget_vf_mac_failure(int ifindex);
    void tell_vf_mac_failures();
    void wait();
    void receive();
    void take(const Link &link, bool gone);
    void forget(const Link &link);
    void take_address(const LinkAddress &address, bool gone);
    void take_vf_macs(int ifindex, std::map<uint32_t, std::string> macs);
    void finish_dump();

    Listener listener_;
    std::function<void()> device_listener_;
    NlSocket socket_;
    boost::asio::posix::stream_descriptor descriptor_;
    Links links_;
    std::map<std::string, int, std::less<>> by_name_;
    /* The request that is being answered, RTM_GETLINK or RTM_GETADDR; 0: none. */
    int dumping_ = 0;
    bool dump_again_ = false;
    bool is_ready_ = false;
    bool is_receiving_ = false;
    /* What the dump under way has not yet told of. */
    std::set<int> unseen_links_;
    std::set<LinkAddress> unseen_addresses_;
    std::set<int> vf_macs_watched_;
    std::set<int> vf_macs_wanted_;
    std::map<int, std::string> vf_macs_failed_;  // of these watched they could not be had
    ReadRetry listing_;
    ReadRetry vf_macs_;
    unsigned overruns_ = 0;
};

}  // namespace vdpa::agent::host
