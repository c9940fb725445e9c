// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/link_monitor.hpp"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/assign_duplicate.hpp"
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

/* Before Linux 5.14 all that is known of a device's netdev is that it has no kind. */
bool is_of_device(const Link &link) {
    return (link.kind.empty() && (link.flags & IFF_LOOPBACK) == 0) || !link.parent_device.empty() ||
           !link.phys_port_name.empty() || !link.switch_id.empty();
}

/* A carrier that comes and goes is no difference. */
bool differs_as_device(const Link &a, const Link &b) {
    Link other = b;
    other.flags = (b.flags & IFF_UP) | (a.flags & ~unsigned{IFF_UP});
    return a != other;
}

}  // namespace

LinkMonitor::LinkMonitor(boost::asio::io_context &io, Listener listener, RetryIntervals intervals)
    : listener_(std::move(listener)),
      device_listener_([] {}),
      descriptor_(io),
      listing_(
          io, module, "netdevs cannot be listed", [this] { request_everything(); },
          [this] { device_listener_(); }, intervals),
      vf_macs_(
          io, module, "MAC addresses of VFs cannot be read from their PF's netdev",
          [this] {
              for (const auto &[ifindex, why] : vf_macs_failed_) {
                  vf_macs_wanted_.insert(ifindex);
              }
              request_wanted_vf_macs();
          },
          [this] { device_listener_(); }, intervals) {}

Expected<void> LinkMonitor::start(int buffer_size) {
    const auto fail_with = [](const std::string &why) {
        return fail(schema::Reason::tap_failed, "rtnetlink cannot be listened to: " + why);
    };
    const auto failed = [&fail_with](int error) { return fail_with(nl_geterror(error)); };
    socket_.reset(nl_socket_alloc());
    if (!socket_) {
        return failed(-NLE_NOMEM);
    }
    nl_socket_disable_seq_check(socket_.get());
    // What a PF says of its VFs is longer than a page.
    nl_socket_enable_msg_peek(socket_.get());
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, this);
    nl_socket_modify_cb(socket_.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_finish, this);
    nl_socket_modify_cb(socket_.get(), NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, this);
    nl_socket_modify_err_cb(socket_.get(), NL_CB_CUSTOM, on_error, this);
    int error = nl_connect(socket_.get(), NETLINK_ROUTE);
    if (error >= 0) {
        error = nl_socket_set_nonblocking(socket_.get());
    }
    if (error >= 0) {
        error = set_receive_buffer(socket_.get(), buffer_size);
    }
    if (error >= 0) {
        error = nl_socket_add_memberships(socket_.get(), RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
                                          RTNLGRP_IPV6_IFADDR, 0);
    }
    if (error < 0) {
        return failed(error);
    }
    if (const auto unassigned = assign_duplicate(descriptor_, nl_socket_get_fd(socket_.get()))) {
        return fail_with(unassigned.message());
    }
    request_everything();
    wait();
    return {};
}

void LinkMonitor::refresh() {
    request_everything();
}

void LinkMonitor::request_everything() {
    // The kernel refuses a second dump while one is under way.
    if (dumping_ != 0) {
        dump_again_ = true;
        return;
    }
    dump_again_ = false;
    unseen_links_.clear();
    for (const auto &[ifindex, link] : links_.by_index) {
        unseen_links_.insert(ifindex);
    }
    vf_macs_wanted_ = vf_macs_watched_;
    request_dump(RTM_GETLINK);
}

void LinkMonitor::request_dump(int type) {
    ifinfomsg links{};
    ifaddrmsg addresses{};
    const int error =
        type == RTM_GETLINK
            ? nl_send_simple(socket_.get(), type, NLM_F_DUMP, &links, sizeof links)
            : nl_send_simple(socket_.get(), type, NLM_F_DUMP, &addresses, sizeof addresses);
    dumping_ = error >= 0 ? type : 0;
    if (error < 0) {
        listing_.failed(nl_geterror(error));
    }
}

void LinkMonitor::finish_dump() {
    const int finished = dumping_;
    dumping_ = 0;
    if (dump_again_) {
        request_everything();
    } else if (finished == RTM_GETLINK) {
        for (const int ifindex : std::exchange(unseen_links_, {})) {
            if (const Link *gone = links_.find(ifindex)) {
                take(Link(*gone), true);
            }
        }
        unseen_addresses_ = links_.addresses;
        request_dump(RTM_GETADDR);
    } else if (finished == RTM_GETADDR) {
        for (const LinkAddress &gone : std::exchange(unseen_addresses_, {})) {
            take_address(gone, true);
        }
        listing_.succeeded();
        if (!std::exchange(is_ready_, true)) {
            device_listener_();
        }
    }
}

std::vector<std::string> LinkMonitor::problems() const {
    std::vector<std::string> all;
    for (const ReadRetry *read : {&listing_, &vf_macs_}) {
        if (!read->problem().empty()) {
            all.push_back(read->problem());
        }
    }
    return all;
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
    is_receiving_ = true;
    bool has_lost = false;
    int error = 0;
    while (error >= 0 || error == -NLE_NOMEM) {
        error = nl_recvmsgs_default(socket_.get());
        if (error == -NLE_NOMEM) {
            // That is how libnl says ENOBUFS. Only notifications are lost by it: the kernel makes
            // the messages of a dump as they are read.
            overruns_++;
            has_lost = true;
        }
    }
    if (error != -NLE_AGAIN) {
        dumping_ = 0;  // it may be what failed, and must not keep others from being made
        listing_.failed(nl_geterror(error));
    }
    // Not before what was still in the buffer is taken: a netdev that it tells of may have gone
    // by one of the notifications that were lost.
    if (has_lost) {
        module.info(limit, "rtnetlink: notifications were lost (ENOBUFS), all is read again");
        request_everything();
    }
    is_receiving_ = false;
    request_wanted_vf_macs();
}

int LinkMonitor::on_message(nl_msg *message, void *self) noexcept {
    auto *const monitor = static_cast<LinkMonitor *>(self);
    nlmsghdr *header = nlmsg_hdr(message);
    const bool gone = header->nlmsg_type == RTM_DELLINK || header->nlmsg_type == RTM_DELADDR;
    if (header->nlmsg_type == RTM_NEWADDR || header->nlmsg_type == RTM_DELADDR) {
        if (const auto address = parse_address(header); address && !address->is_link_local()) {
            monitor->take_address(*address, gone);
        }
    } else if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) {
        const auto *body = static_cast<const ifinfomsg *>(nlmsg_data(header));
        auto macs = parse_vf_macs(header);
        // A driver may not tell them. Taken for a notification, the answer would be asked about.
        if (!macs && monitor->is_answer(header)) {
            macs.emplace();
        }
        if (macs) {
            if (const uint32_t count = parse_vf_count(header); macs->size() < count) {
                const Link *pf = monitor->links_.find(body->ifi_index);
                module.info(limit, (pf ? pf->name : "a netdev that has gone") +
                                       ": the kernel tells the MAC addresses of " +
                                       std::to_string(macs->size()) + " of its " +
                                       std::to_string(count) + " VFs; the others' are not known");
            }
            monitor->take_vf_macs(body->ifi_index, std::move(*macs));
            return NL_OK;
        }
        const auto link = parse_link(header);
        // A bridge reports its ports by messages of its own family that say less.
        if (link && body->ifi_family == AF_UNSPEC) {
            monitor->take(*link, gone);
        }
    }
    return NL_OK;
}

/* To a request about one netdev, for its VFs' MAC addresses. */
bool LinkMonitor::is_answer(const nlmsghdr *header) const {
    return header->nlmsg_pid == nl_socket_get_local_port(socket_.get()) &&
           (header->nlmsg_flags & NLM_F_MULTI) == 0;
}

int LinkMonitor::on_finish(nl_msg *message, void *self) noexcept {
    auto *const monitor = static_cast<LinkMonitor *>(self);
    // What a dump that has failed did not tell of may be there all the same.
    if (const int error = dump_error(nlmsg_hdr(message)); error != 0) {
        monitor->dumping_ = 0;
        monitor->listing_.failed(errno_text(error));
    } else {
        monitor->finish_dump();
    }
    return NL_OK;
}

int LinkMonitor::on_interrupted(nl_msg * /*message*/, void *self) noexcept {
    static_cast<LinkMonitor *>(self)->dump_again_ = true;
    return NL_OK;
}

int LinkMonitor::on_error(sockaddr_nl * /*from*/, nlmsgerr *error, void *self) noexcept {
    auto *const monitor = static_cast<LinkMonitor *>(self);
    if ((error->msg.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
        monitor->dumping_ = 0;
        monitor->listing_.failed(errno_text(-error->error));
    } else if (error->error != -ENODEV &&
               nlmsg_datalen(&error->msg) >= static_cast<int>(sizeof(ifinfomsg))) {
        // The request follows the header (netlink(7)). Of a netdev that has gone meanwhile a
        // notification tells.
        const auto *asked = static_cast<const ifinfomsg *>(nlmsg_data(&error->msg));
        monitor->refuse_vf_macs(asked->ifi_index, errno_text(-error->error));
    }
    return NL_SKIP;
}

void LinkMonitor::forget(const Link &link) {
    if (const auto named = by_name_.find(link.name);
        named != by_name_.end() && named->second == link.ifindex) {
        by_name_.erase(named);
    }
}

void LinkMonitor::take(const Link &link, bool gone) {
    const auto known = links_.by_index.find(link.ifindex);
    const auto old = known == links_.by_index.end() ? std::nullopt : std::optional(known->second);
    unseen_links_.erase(link.ifindex);
    if (old) {
        forget(*old);
    }
    if (gone) {
        if (!old) {
            return;
        }
        links_.by_index.erase(known);
        links_.vf_macs.erase(link.ifindex);
        forget_vf_mac_failure(link.ifindex);
        listener_(old->name);
        if (is_of_device(*old)) {
            device_listener_();
        }
        return;
    }
    by_name_[link.name] = link.ifindex;
    links_.by_index[link.ifindex] = link;
    if (vf_macs_watched_.contains(link.ifindex)) {
        vf_macs_wanted_.insert(link.ifindex);
    }
    if (!old || differs(*old, link)) {
        listener_(link.name);
        if (old && old->name != link.name) {
            listener_(old->name);
        }
    }
    if (old ? is_of_device(*old) != is_of_device(link) ||
                  (is_of_device(link) && differs_as_device(*old, link))
            : is_of_device(link)) {
        device_listener_();
    }
}

void LinkMonitor::take_address(const LinkAddress &address, bool gone) {
    unseen_addresses_.erase(address);
    const bool had_any = links_.has_address(address.ifindex);
    if (gone) {
        links_.addresses.erase(address);
    } else {
        links_.addresses.insert(address);
    }
    const Link *link = links_.find(address.ifindex);
    if (link && is_of_device(*link) && had_any != links_.has_address(address.ifindex)) {
        device_listener_();
    }
}

const Link *LinkMonitor::find(const std::string &name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : links_.find(found->second);
}

}  // namespace vdpa::agent::host
