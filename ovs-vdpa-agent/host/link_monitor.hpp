// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>

#include "ovs-vdpa-agent/host/rtnl.hpp"

namespace vdpa::agent::host {

/* What netdevs there are, kept by rtnetlink notifications. Lives on the control thread and never
 * blocks it. The kernel drops notifications when the socket's buffer is full (ENOBUFS): then
 * everything is read again. */
class LinkMonitor {
  public:
    /* Called with the name of every netdev that came, went, was renamed (once for each name), or
     * was set up or down or had ARP switched; and with the old name when an interface index changed
     * hands. */
    using Listener = std::function<void(const std::string &name)>;

    LinkMonitor(boost::asio::io_context &io, Listener listener);

    /* Subscribes, and asks for all netdevs. `buffer_size`: of the receive buffer, in bytes; 0
     * leaves it to the system. */
    Expected<void> start(int buffer_size = 0);

    /* The netdev of that name as last heard of. */
    const Link *find(const std::string &name) const;

    /* How often notifications were lost. */
    unsigned overruns() const { return overruns_; }

  private:
    static int on_message(nl_msg *message, void *self) noexcept;
    static int on_finish(nl_msg *message, void *self) noexcept;
    void request_dump();
    void wait();
    void receive();
    void take(const Link &link, bool gone);
    void sweep();

    Listener listener_;
    NlSocket socket_;
    boost::asio::posix::stream_descriptor descriptor_;
    struct Entry {
        Link link;
        unsigned seen = 0;  // the dump that last told of it
    };
    std::map<int, Entry> links_;
    std::map<std::string, int, std::less<>> by_name_;
    unsigned dump_ = 0;
    bool dumping_ = false;
    bool dump_again_ = false;
    unsigned overruns_ = 0;
};

}  // namespace vdpa::agent::host
