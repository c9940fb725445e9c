// SPDX-License-Identifier: Apache-2.0
// The side of Port that the vhost library calls.
#include "engine/vhost/callbacks.hpp"

#include <rte_vhost.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <climits>
#include <cstring>

#include "engine/vhost/memory_guard.hpp"
#include "engine/vhost/message_check.hpp"
#include "engine/vhost/port.hpp"
#include "engine/vhost/registry.hpp"

namespace vdpa::engine::vhost {

namespace {

constexpr const char *module = "vhost";
constexpr unsigned ring_packed = 34;         // VIRTIO_F_RING_PACKED
constexpr uint32_t wrap_counter = 1U << 15;  // in SET_VRING_BASE of a packed ring

/* The result that makes the library end the connection: one that wants to be told of an error goes
 * on after it. */
rte_vhost_msg_result end_by(Message &message) {
    close_fds(message);
    message.flags &= ~need_reply;
    return RTE_VHOST_MSG_RESULT_ERR;
}

rte_vhost_msg_result before(int vid, void *message) {
    EventThread::beat();
    MemoryGuard::begin_message(vid);
    Port *port = Registry::instance().connection(vid);
    if (!port) {
        // What is left of one that has hung up: nobody would check it.
        return end_by(*static_cast<Message *>(message));
    }
    return port->before_message(vid, *static_cast<Message *>(message));
}

rte_vhost_msg_result after(int vid, void *message) {
    MemoryGuard::end_message();
    Port *port = Registry::instance().connection(vid);
    return port ? port->after_message(vid, *static_cast<const Message *>(message))
                : RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

const rte_vhost_user_extern_ops message_handlers = {.pre_msg_handle = before,
                                                    .post_msg_handle = after};

int new_connection(int vid) {
    std::array<char, PATH_MAX> path{};
    if (rte_vhost_get_ifname(vid, path.data(), path.size()) != 0) {
        return -1;
    }
    Port *port = Registry::instance().find(path.data());
    return port ? port->on_new_connection(vid, path.data()) : -1;
}

void destroy_connection(int vid) {
    MemoryGuard::end_message();  // if that was one which failed
    if (Port *port = Registry::instance().connection(vid)) {
        port->on_destroy_connection(vid);
    }
}

int new_device(int vid) {
    Port *port = Registry::instance().connection(vid);
    return port ? port->on_new_device(vid) : -1;
}

void destroy_device(int vid) {
    if (Port *port = Registry::instance().connection(vid)) {
        port->on_destroy_device(vid);
    }
}

int vring_state_changed(int vid, uint16_t ring, int enable) {
    if (Port *port = Registry::instance().connection(vid)) {
        port->on_vring_state(vid, ring, enable != 0);
    }
    return 0;
}

/* On the back-end's channel, the library waits for the front-end's answer, and all other ports with
 * it. A front-end that is alive answers in less than this. */
void limit_waiting(const Message &message) {
    constexpr timeval longest{.tv_sec = 0, .tv_usec = 500'000};
    if (message.fd_count == 1) {
        ::setsockopt(message.fds[0], SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof(longest));
        ::setsockopt(message.fds[0], SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof(longest));
    }
}

}  // namespace

const rte_vhost_device_ops &device_callbacks() {
    static const rte_vhost_device_ops callbacks = [] {
        rte_vhost_device_ops ops{};
        ops.new_device = new_device;
        ops.destroy_device = destroy_device;
        ops.vring_state_changed = vring_state_changed;
        ops.new_connection = new_connection;
        ops.destroy_connection = destroy_connection;
        return ops;
    }();
    return callbacks;
}

int Port::on_new_connection(int vid, const char *library_path) {
    const std::lock_guard lock(mutex_);
    // Both may have happened while the library's thread was at work elsewhere, and it looks at
    // sockets that listen first (DPDK 22.11, lib/vhost/fd_man.c).
    const bool has_ended = vid_ >= 0 && (memory_lost_ || socket_.has_ended());
    if (vid_ >= 0 && !has_ended) {
        VDPA_LOG_WITH_LIMIT(refuse_limit_, warn, module,
                            "%s: a second front-end connected to %s and is refused", name().c_str(),
                            spec_.socket.path.c_str());
        return -1;
    }
    if (next_vid_ >= 0) {
        refuse_early();
        return -1;
    }
    if (!datapath_ || rte_vhost_extern_callback_register(vid, &message_handlers, nullptr) != 0) {
        return -1;
    }
    FrontEndSocket socket = FrontEndSocket::find(library_path, spec_.socket.mode, socket_);
    socket.limit_waits();
    Registry::instance().set_connection(vid, this);
    if (has_ended && !memory_lost_ && datapath_->hung_up()) {
        end_connection();  // what the library says of it later, finds no port
    }
    if (vid_ >= 0) {
        // A vDPA device is the library's to stop, which it does before it reads of this one, as it
        // looks at connections in the order in which they came.
        next_vid_ = vid;
        next_socket_ = std::move(socket);
        return 0;
    }
    begin_connection(vid, std::move(socket));
    publish();
    return 0;
}

void Port::begin_connection(int vid, FrontEndSocket socket) {
    datapath_->new_connection(vid);
    vid_ = vid;
    socket_ = std::move(socket);
    memory_lost_ = false;
    protocol_features_ = 0;
    ++connections_;
    if (!next_offer_) {
        fault_.reset();
    }
    VDPA_LOG_WITH_LIMIT(connect_limit_, info, module, "%s: front-end connected", name().c_str());
}

void Port::refuse_early() {
    VDPA_LOG_WITH_LIMIT(refuse_limit_, info, module,
                        "%s: a front-end connected while the one before is still being "
                        "disconnected, and has to connect again",
                        name().c_str());
}

void Port::on_destroy_connection(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid == next_vid_) {
        forget_next_connection();
    }
    if (vid != vid_) {
        return;
    }
    end_connection();
    if (next_vid_ >= 0) {
        begin_connection(std::exchange(next_vid_, -1), std::move(next_socket_));
    }
    publish();
}

void Port::end_connection() {
    VDPA_LOG_WITH_LIMIT(connect_limit_, info, module, "%s: front-end disconnected", name().c_str());
    forget_connection();
    datapath_->end_connection();
    if (!memory_lost_) {  // which is why it ended
        fault_.reset();
    }
    // Here and not by the control thread: the next front-end may connect at once.
    if (const auto next = std::exchange(next_offer_, std::nullopt)) {
        if (auto switched = switch_offer(*next); !switched) {
            fault_ = switched.error();
            next_offer_ = next;  // for the end of the next one
        }
    }
}

int Port::on_new_device(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid != vid_) {
        return -1;
    }
    datapath_->device_up(vid);
    rte_vhost_get_negotiated_features(vid, &features_);
    publish();
    return 0;
}

void Port::on_destroy_device(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid != vid_) {
        return;
    }
    datapath_->device_down();
    features_ = 0;
    publish();
}

void Port::on_vring_state(int vid, uint16_t ring, bool enabled) {
    const std::lock_guard lock(mutex_);
    if (vid == vid_) {
        datapath_->ring_enabled(ring, enabled);
        publish();
    }
}

void Port::on_memory_lost(int vid) {
    const std::lock_guard lock(mutex_);
    if (vid != vid_ || !MemoryGuard::instance().take_lost(vid) || memory_lost_) {
        return;
    }
    memory_lost_ = true;
    datapath_->stop_serving();
    fault_ = Error{schema::Reason::memory_lost,
                   "the front-end took away memory that it shares, while that was in use (its file "
                   "was truncated, or a page of it is broken): it was disconnected, and has to "
                   "connect again"};
    VDPA_LOG_WITH_LIMIT(refuse_limit_, warn, module, "%s: %s", name().c_str(),
                        fault_->detail.c_str());
    socket_.hang_up();
    publish();
}

rte_vhost_msg_result Port::reject(Message &message, const char *why) {
    VDPA_LOG_WITH_LIMIT(refuse_limit_, warn, module, "%s: message %u of the front-end refused: %s",
                        name().c_str(), message.request, why);
    close_fds(message);
    return RTE_VHOST_MSG_RESULT_ERR;
}

rte_vhost_msg_result Port::before_message(int vid, Message &message) {
    const std::lock_guard lock(mutex_);
    if (vid == next_vid_) {
        // The library lets go of descriptors in between, and fills the gap with the last one of
        // its list: then that order is another.
        refuse_early();
        return end_by(message);
    }
    if (vid != vid_ || next_vid_ >= 0) {
        return end_by(message);  // it has hung up
    }
    const auto answer_u64 = [&message](uint64_t value) {
        close_fds(message);
        message.payload.u64 = value;
        message.size = sizeof(value);
        return RTE_VHOST_MSG_RESULT_REPLY;
    };
    const auto request = static_cast<Request>(message.request);
    if (memory_lost_) {
        return end_by(message);  // it was hung up on
    }
    if (const char *why = refusal(message, datapath_->protocol_features())) {
        return reject(message, why);
    }
    if (const auto ring = ring_of(message); ring && *ring >= datapath_->ring_count()) {
        const uint32_t pairs = datapath_->queue_pairs();
        const std::string what =
            *ring == 2 * pairs
                ? " for its control queue, which the device does not have"
                : ", that is more than the " + std::to_string(pairs) + " queue pairs offered";
        fault_ = Error{schema::Reason::queues_mismatch,
                       "the front-end sets up ring " + std::to_string(*ring) + what};
        publish();
        return reject(message, "more rings than were offered");
    }
    switch (request) {
        case Request::get_features:
            return answer_u64(datapath_->features());
        case Request::get_queue_num:
            return answer_u64(datapath_->queue_pairs());
        case Request::get_config:
            return get_config(vid, message);
        case Request::set_features:
            if ((message.payload.u64 & ~datapath_->features()) != 0) {
                return reject(message, "features that were not offered");
            }
            break;
        case Request::set_protocol_features:
            protocol_features_ = message.payload.u64;
            break;
        case Request::set_backend_req_fd:
            limit_waiting(message);
            break;
        case Request::set_vring_base:
            // A driver starts a packed ring with its wrap counters at 1 (virtio 1.2, 2.8.1), which
            // is bit 15 here. User-mode Linux sends 0 all the same. A front-end that takes part in
            // live migration, which a dirty log is for, may mean it.
            if (uint64_t features = 0;
                message.payload.state.num == 0 &&
                rte_vhost_get_negotiated_features(vid, &features) == 0 &&
                (features >> ring_packed & 1) != 0 &&
                (protocol_features_ & bit(ProtocolFeature::log_shmfd)) == 0) {
                message.payload.state.num = wrap_counter;
            }
            break;
        default:
            break;
    }
    if (touches_rings(request) && !datapath_->quiesce()) {
        return reject(message, "an earlier message failed");
    }
    if (request == Request::set_mem_table) {
        MemoryGuard::instance().protect_memory(vid, {});
    } else if (request == Request::set_log_base) {
        MemoryGuard::instance().protect_log(vid, {});
    }
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

rte_vhost_msg_result Port::after_message(int vid, const Message &message) {
    const std::lock_guard lock(mutex_);
    const auto request = static_cast<Request>(message.request);
    if (vid != vid_ || !touches_rings(request)) {
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    }
    if (request == Request::set_mem_table) {
        MemoryGuard::instance().protect_memory(vid, shared_memory_of(vid));
    } else if (request == Request::set_log_base) {
        MemoryGuard::instance().protect_log(vid, dirty_log_of(vid));
    }
    if (!datapath_->resume()) {
        publish();
        return RTE_VHOST_MSG_RESULT_ERR;
    }
    if (request == Request::set_features && features_ != 0) {
        rte_vhost_get_negotiated_features(vid, &features_);  // LOG_ALL may change while it runs
    }
    publish();
    return RTE_VHOST_MSG_RESULT_OK;
}

/* Only a front-end that has no configuration space of its own asks for it. */
rte_vhost_msg_result Port::get_config(int vid, Message &message) const {
    close_fds(message);
    const uint32_t size = message.payload.config.size;
    constexpr uint32_t header = offsetof(DeviceConfig, region);
    if (size > sizeof(message.payload.config.region) || message.size != header + size ||
        !datapath_->read_config(vid, message.payload.config.offset, message.payload.config.region,
                                size)) {
        message.size = 0;  // "an error", for GET_CONFIG
    }
    return RTE_VHOST_MSG_RESULT_REPLY;
}

}  // namespace vdpa::engine::vhost
