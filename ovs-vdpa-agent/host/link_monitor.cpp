// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/link_monitor.hpp"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

const log::Module module("link_monitor");
log::RateLimit limit;

/* Whether the agent has anything to do with the difference. */
bool differs(const Link &a, const Link &b) {
    return a.name != b.name || ((a.flags ^ b.flags) & (IFF_UP | IFF_NOARP)) != 0 ||
           a.kind != b.kind || a.master != b.master;
}

}  // namespace

LinkMonitor::LinkMonitor(boost::asio::io_context &io, Listener listener)
    : listener_(std::move(listener)), descriptor_(io) {}

Expected<void> LinkMonitor::start(int buffer_size) {
    const auto failed = [](int error) {
        return fail(schema::Reason::tap_failed,
                    std::string("rtnetlink cannot be listened to: ") + nl_geterror(error));
    };
    socket_.reset(nl_socket_alloc());
    if (!socket_) {
        return failed(-NLE_NOMEM);
    }
    nl_socket_disable_seq_check(socket_.get());
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, this);
    nl_socket_modify_cb(socket_.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_finish, this);
    int error = nl_connect(socket_.get(), NETLINK_ROUTE);
    if (error >= 0) {
        error = nl_socket_set_nonblocking(socket_.get());
    }
    if (error >= 0 && buffer_size > 0) {
        error = nl_socket_set_buffer_size(socket_.get(), buffer_size, 0);
    }
    if (error >= 0) {
        error = nl_socket_add_memberships(socket_.get(), RTNLGRP_LINK, 0);
    }
    if (error < 0) {
        return failed(error);
    }
    // The descriptor is a duplicate, for asio closes what it was given.
    descriptor_.assign(::dup(nl_socket_get_fd(socket_.get())));
    request_dump();
    wait();
    return {};
}

void LinkMonitor::request_dump() {
    // The kernel refuses a second dump while one is under way.
    if (dumping_) {
        dump_again_ = true;
        return;
    }
    dump_++;
    dump_again_ = false;
    ifinfomsg all{};
    const int error = nl_send_simple(socket_.get(), RTM_GETLINK, NLM_F_DUMP, &all, sizeof all);
    dumping_ = error >= 0;
    if (!dumping_) {
        module.error(limit, std::string("netdevs cannot be listed: ") + nl_geterror(error));
    }
}

void LinkMonitor::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code &error) {
                               if (!error) {
                                   receive();
                                   wait();
                               }
                           });
}

void LinkMonitor::receive() {
    while (true) {
        const int error = nl_recvmsgs_default(socket_.get());
        if (error == -NLE_AGAIN) {
            return;
        }
        if (error == -NLE_NOMEM || error == -NLE_DUMP_INTR) {
            // NLE_NOMEM is how libnl says ENOBUFS. Only notifications are lost by it: the kernel
            // makes the messages of a dump as they are read.
            overruns_ += error == -NLE_NOMEM ? 1U : 0U;
            request_dump();
        } else if (error < 0) {
            module.warn(limit, std::string("rtnetlink: ") + nl_geterror(error));
            dumping_ = false;  // it may be what failed, and must not keep others from being made
            return;
        }
    }
}

int LinkMonitor::on_message(nl_msg *message, void *self) noexcept {
    nlmsghdr *header = nlmsg_hdr(message);
    if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) {
        const auto link = parse_link(header);
        const auto *body = static_cast<const ifinfomsg *>(nlmsg_data(header));
        // A bridge reports its ports by messages of its own family that say less.
        if (link && body->ifi_family == AF_UNSPEC) {
            static_cast<LinkMonitor *>(self)->take(*link, header->nlmsg_type == RTM_DELLINK);
        }
    }
    return NL_OK;
}

int LinkMonitor::on_finish(nl_msg * /*message*/, void *self) noexcept {
    static_cast<LinkMonitor *>(self)->sweep();
    return NL_OK;
}

void LinkMonitor::take(const Link &link, bool gone) {
    const auto known = links_.find(link.ifindex);
    const bool was_known = known != links_.end();
    const std::string old_name = was_known ? known->second.link.name : "";
    if (gone) {
        if (was_known) {
            if (const auto named = by_name_.find(old_name);
                named != by_name_.end() && named->second == link.ifindex) {
                by_name_.erase(named);
            }
            links_.erase(known);
            listener_(old_name);
        }
        return;
    }
    const bool changed = !was_known || differs(known->second.link, link);
    if (was_known && old_name != link.name) {
        if (const auto named = by_name_.find(old_name);
            named != by_name_.end() && named->second == link.ifindex) {
            by_name_.erase(named);
        }
    }
    by_name_[link.name] = link.ifindex;
    links_[link.ifindex] = {link, dump_};
    if (changed) {
        listener_(link.name);
        if (was_known && old_name != link.name) {
            listener_(old_name);
        }
    }
}

void LinkMonitor::sweep() {
    dumping_ = false;
    if (dump_again_) {
        request_dump();
        return;
    }
    std::vector<Link> gone;
    for (const auto &[ifindex, entry] : links_) {
        if (entry.seen != dump_) {
            gone.push_back(entry.link);
        }
    }
    for (const Link &link : gone) {
        take(link, true);
    }
}

const Link *LinkMonitor::find(const std::string &name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &links_.at(found->second).link;
}

}  // namespace vdpa::agent::host
