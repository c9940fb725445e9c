// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/devlink_monitor.hpp"

#include <linux/devlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/socket.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/assign_duplicate.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

namespace {

const log::Module module("devlink_monitor");
log::RateLimit limit;

/* A dump that changes while it is read is begun anew; one that changes all the time is taken as it
 * is, for the notifications correct it. */
constexpr int max_dumps = 5;

/* A socket that gets notifications; null: the kernel has no devlink. */
NetResult<NlSocket> open_notifications(int buffer_size) {
    const auto failed = [](int error) {
        return tl::make_unexpected(NetlinkError{EIO, nl_geterror(error)});
    };
    NlSocket socket(nl_socket_alloc());
    if (!socket) {
        return no_memory();
    }
    if (const int error = genl_connect(socket.get()); error < 0) {
        return failed(error);
    }
    const int group =
        genl_ctrl_resolve_grp(socket.get(), DEVLINK_GENL_NAME, DEVLINK_GENL_MCGRP_CONFIG_NAME);
    if (group == -NLE_OBJ_NOTFOUND) {
        // libnl says so whatever did not work.
        const auto family = GenericNetlink::open(DEVLINK_GENL_NAME, DEVLINK_GENL_VERSION);
        if (!family) {
            return tl::make_unexpected(family.error());
        }
        return *family ? NetResult<NlSocket>(failed(group)) : NlSocket();
    }
    nl_socket_disable_seq_check(socket.get());
    nl_socket_enable_msg_peek(socket.get());
    int error = group;
    if (error >= 0) {
        error = set_receive_buffer(socket.get(), buffer_size);
    }
    if (error >= 0) {
        error = nl_socket_add_membership(socket.get(), group);
    }
    if (error >= 0) {
        error = nl_socket_set_nonblocking(socket.get());
    }
    if (error < 0) {
        return failed(error);
    }
    return socket;
}

NetResult<void> dump(GenericNetlink &devlink, uint8_t command, DevlinkState &state) {
    for (int i = 0; i < max_dumps; i++) {
        const NlMessage request = devlink.request(command, NLM_F_DUMP);
        if (!request) {
            return no_memory();
        }
        auto done = devlink.run(request.get(), [&state](nlmsghdr *header) {
            if (const auto message = parse_devlink(header)) {
                apply(*message, state);
            }
        });
        if (done || done.error().code != EINTR) {
            return done;
        }
    }
    return {};
}

NetResult<DevlinkState> read_state() {
    auto devlink = GenericNetlink::open(DEVLINK_GENL_NAME, DEVLINK_GENL_VERSION);
    if (!devlink) {
        return tl::make_unexpected(devlink.error());
    }
    DevlinkState state;
    if (*devlink) {
        for (const uint8_t command : {DEVLINK_CMD_GET, DEVLINK_CMD_PORT_GET}) {
            if (const auto done = dump(**devlink, command, state); !done) {
                return tl::make_unexpected(done.error());
            }
        }
    }
    return state;
}

}  // namespace

DevlinkMonitor::DevlinkMonitor(boost::asio::io_context &io, BackgroundReads &reads,
                               std::function<void()> changed, RetryIntervals intervals)
    : reads_(reads),
      changed_(std::move(changed)),
      eswitches_(
          io, reads,
          [this](const auto &device, const auto &answer) { return take_eswitch(device, answer); }),
      descriptor_(io),
      listing_(
          io, module, "devlink devices cannot be listed",
          [this] { socket_ ? read_everything() : open(); }, changed_, intervals) {}

void DevlinkMonitor::start(int buffer_size) {
    buffer_size_ = buffer_size;
    open();
}

void DevlinkMonitor::open() {
    reads_.run("devlink", [this, size = buffer_size_] {
        auto opened = std::make_shared<NetResult<NlSocket>>(open_notifications(size));
        return [this, opened] {
            if (*opened && **opened) {
                listen(std::move(**opened));
                return;
            }
            is_ready_ = true;
            if (*opened) {
                listing_.succeeded();
            } else {
                listing_.failed(opened->error().detail);
            }
            changed_();
        };
    });
}

void DevlinkMonitor::listen(NlSocket socket) {
    if (const auto error = assign_duplicate(descriptor_, nl_socket_get_fd(socket.get()))) {
        is_ready_ = true;
        listing_.failed(error.message());
        changed_();
        return;
    }
    socket_ = std::move(socket);
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, this);
    read_everything();
    wait();
}

void DevlinkMonitor::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code &error) {
                               if (!error) {
                                   receive();
                                   wait();
                               }
                           });
}

void DevlinkMonitor::receive() {
    bool has_lost = false;
    int error = 0;
    while (error >= 0 || error == -NLE_NOMEM) {
        error = nl_recvmsgs_default(socket_.get());
        if (error == -NLE_NOMEM) {  // how libnl says ENOBUFS
            overruns_++;
            has_lost = true;
        }
    }
    if (error != -NLE_AGAIN) {
        // What is being read may be older than what was lost: its success is not the end of this.
        read_again_ = read_again_ || is_reading_;
        listing_.failed(nl_geterror(error));
    }
    // Not before what was still in the buffer is taken: it is older than what was lost, and would
    // win over what is read.
    if (has_lost) {
        module.info(limit, "devlink: notifications were lost (ENOBUFS), all is read again");
        read_everything();
    }
}

int DevlinkMonitor::on_message(nl_msg *message, void *self) noexcept {
    if (const auto parsed = parse_devlink(nlmsg_hdr(message))) {
        static_cast<DevlinkMonitor *>(self)->take(*parsed);
    }
    return NL_OK;
}

void DevlinkMonitor::take(const DevlinkMessage &message) {
    if (is_reading_ && message.port) {
        touched_ports_.insert({message.device, message.port->index});
    } else if (is_reading_) {
        touched_devices_.insert(message.device);
    }
    if (apply(message, state_)) {
        stirred_.insert(message.device);
    }
    if (message.command == DEVLINK_CMD_DEL) {
        eswitches_.forget(message.device);
    }
    changed_();
}

void DevlinkMonitor::read_everything() {
    if (is_reading_) {
        read_again_ = true;
        return;
    }
    is_reading_ = true;
    read_again_ = false;
    touched_devices_.clear();
    touched_ports_.clear();
    reads_.run("devlink", [this] {
        auto state = std::make_shared<NetResult<DevlinkState>>(read_state());
        return [this, state] {
            is_reading_ = false;
            if (*state) {
                if (!read_again_) {
                    listing_.succeeded();
                }
                take_everything(std::move(**state));
            } else {
                listing_.failed(state->error().detail);
            }
            if (read_again_) {
                read_everything();
            }
        };
    });
}

void DevlinkMonitor::take_everything(DevlinkState state) {
    for (const Handle &device : touched_devices_) {
        if (state_.devices.contains(device)) {
            state.devices.try_emplace(device);
        } else {
            state.devices.erase(device);
            std::erase_if(state.ports,
                          [&device](const auto &entry) { return entry.first.first == device; });
        }
    }
    for (const DevlinkState::PortKey &key : touched_ports_) {
        const auto known = state_.ports.find(key);
        if (known == state_.ports.end()) {
            state.ports.erase(key);
        } else {
            state.devices.try_emplace(key.first);
            state.ports.insert_or_assign(key, known->second);
        }
    }
    for (auto &[device, eswitch] : state.devices) {
        if (const auto known = state_.devices.find(device); known != state_.devices.end()) {
            eswitch = known->second;
        }
        if (const auto error = state_.eswitch_errors.find(device);
            error != state_.eswitch_errors.end()) {
            state.eswitch_errors.insert(*error);
        }
        stirred_.insert(device);
    }
    state_ = std::move(state);
    is_ready_ = true;
    changed_();
}

bool DevlinkMonitor::take_eswitch(const Handle &device, const NetResult<Pf::Eswitch> &answer) {
    if (!state_.devices.contains(device)) {
        return false;
    }
    // Of one that has just gone, devlink is about to tell.
    if (!answer && answer.error().is_gone()) {
        return true;
    }
    const bool differs = answer ? set_eswitch(device, *answer, state_)
                                : set_eswitch_error(device, answer.error().detail, state_);
    if (differs && !answer) {
        module.warn(limit, device.text() + ": its eswitch's mode cannot be read: " +
                               answer.error().detail + "; it is asked again");
    }
    if (differs) {
        changed_();
    }
    return true;
}

}  // namespace vdpa::agent::host
