// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/vdpa_datapath.hpp"

#include <rte_vhost.h>

#include <algorithm>
#include <utility>

#include "engine/relay/features.hpp"
#include "engine/relay/virtio.hpp"
#include "engine/vhost/message.hpp"

namespace vdpa::engine::device {

namespace {

using vhost::bit;
using vhost::ProtocolFeature;

constexpr uint64_t feature(unsigned number) {
    return uint64_t{1} << number;
}

constexpr uint64_t offloads = feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_GUEST_CSUM) |
                              feature(VIRTIO_NET_F_HOST_TSO4) | feature(VIRTIO_NET_F_HOST_TSO6) |
                              feature(VIRTIO_NET_F_HOST_ECN) | feature(VIRTIO_NET_F_HOST_UFO) |
                              feature(VIRTIO_NET_F_GUEST_TSO4) | feature(VIRTIO_NET_F_GUEST_TSO6) |
                              feature(VIRTIO_NET_F_GUEST_ECN) | feature(VIRTIO_NET_F_GUEST_UFO);

/* What a control queue is needed for (virtio 1.2, 5.1.3.1). */
constexpr uint64_t commands = feature(VIRTIO_NET_F_MQ) | feature(VIRTIO_NET_F_GUEST_ANNOUNCE) |
                              feature(VIRTIO_NET_F_CTRL_RX) | feature(VIRTIO_NET_F_CTRL_VLAN) |
                              feature(VIRTIO_NET_F_CTRL_MAC_ADDR);

/* What library, device and we can do together. A doorbell is handed over on the back-end's channel,
 * as a file descriptor. Not among them, whatever the device says: RARP, crypto, postcopy. */
constexpr uint64_t doorbells = bit(ProtocolFeature::backend_req) |
                               bit(ProtocolFeature::backend_send_fd) |
                               bit(ProtocolFeature::host_notifier);
constexpr uint64_t known_protocol_features =
    bit(ProtocolFeature::mq) | bit(ProtocolFeature::log_shmfd) | bit(ProtocolFeature::reply_ack) |
    bit(ProtocolFeature::net_mtu) | bit(ProtocolFeature::config) | bit(ProtocolFeature::status) |
    doorbells;

}  // namespace

VdpaDatapath::VdpaDatapath(std::shared_ptr<Device> device, vhost::EventThread &events,
                           const vhost::Offer &offer)
    : device_(std::move(device)),
      events_(events),
      gate_(std::make_shared<Gate>()),
      observer_(std::make_shared<Announcer>(nullptr)),
      offer_(offer) {
    gate_->forwarder = &device_->forwarder();
}

VdpaDatapath::~VdpaDatapath() {
    if (vid_ >= 0) {
        end_connection();
    }
    observer_->stop();
}

void VdpaDatapath::set_observer(Observer observer) {
    observer_ = std::make_shared<Announcer>(std::move(observer));
}

Expected<void> VdpaDatapath::set_offer(const vhost::Offer &offer) {
    offer_ = offer;
    limit();
    return {};
}

Expected<void> VdpaDatapath::attach(const std::string &library_path) {
    const char *path = library_path.c_str();
    // Before the device is attached, the library tells what it can do itself.
    if (rte_vhost_driver_get_features(path, &library_features_) != 0 ||
        rte_vhost_driver_attach_vdpa_device(path, &device_->forwarder().device()) != 0) {
        return fail(schema::Reason::device_failed,
                    "the vhost library did not take the device " + device_->name());
    }
    return {};
}

void VdpaDatapath::detach(const std::string &library_path) {
    {
        const std::lock_guard closed(gate_->mutex);
        gate_->forwarder = nullptr;
    }
    rte_vhost_driver_detach_vdpa_device(library_path.c_str());
}

Expected<void> VdpaDatapath::check() {
    if (auto there = device_->check(); !there) {
        return there;
    }
    if (device_->forwarder().wants_retry(Forwarder::Clock::now())) {
        retry();
    }
    return {};
}

void VdpaDatapath::retry() {
    device_->forwarder().hurry();
    events_.post([gate = gate_] {
        const std::lock_guard open(gate->mutex);
        if (gate->forwarder) {
            gate->forwarder->retry();
        }
    });
}

uint64_t VdpaDatapath::features() const {
    uint64_t offered = device_->capabilities().features & library_features_ &
                       ~(offer_.packed ? 0 : feature(VIRTIO_F_RING_PACKED)) &
                       ~(offer_.offloads ? 0 : offloads);
    if (queue_pairs() == 1) {
        offered &= ~feature(VIRTIO_NET_F_MQ);
    }
    // A front-end that leaves its control queue to the back-end finds nobody there, so it had
    // better not have one without need. QEMU answers it itself.
    if ((offered & commands) == 0) {
        offered &= ~feature(VIRTIO_NET_F_CTRL_VQ);
    }
    return offered;
}

uint64_t VdpaDatapath::protocol_features() const {
    uint64_t offered = device_->capabilities().protocol_features & known_protocol_features;
    if (!relay::has(device_->capabilities().features, relay::vhost_f_log_all)) {
        offered &= ~bit(ProtocolFeature::log_shmfd);
    }
    if ((offered & doorbells) != doorbells) {
        offered &= ~(bit(ProtocolFeature::backend_send_fd) | bit(ProtocolFeature::host_notifier));
    }
    return offered;
}

uint32_t VdpaDatapath::queue_pairs() const {
    return std::min(offer_.max_queues, device_->capabilities().queue_pairs);
}

/* The device may have been another datapath's of the same port until now. */
void VdpaDatapath::limit() const {
    device_->forwarder().set_limits({.features = features(),
                                     .protocol_features = protocol_features(),
                                     .queue_pairs = queue_pairs()});
}

void VdpaDatapath::new_connection(int vid) {
    vid_ = vid;
    limit();
    device_->forwarder().begin(vid, observer_);
    device_->begin(observer_);
}

void VdpaDatapath::end_connection() {
    vid_ = -1;
    device_->forwarder().end();
    device_->end();
}

bool VdpaDatapath::quiesce() {
    return device_->forwarder().message_begins();
}

bool VdpaDatapath::resume() {
    const bool good = device_->forwarder().message_ends();
    device_->message_handled(vid_);
    return good;
}

bool VdpaDatapath::read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const {
    return device_->forwarder().read_config(vid, offset, bytes, size);
}

uint32_t VdpaDatapath::enabled_queue_pairs() const {
    const Forwarder::State state = device_->forwarder().state();
    if (vid_ < 0 || !state.configured) {
        return 0;  // or it is another datapath's
    }
    uint32_t pairs = state.queue_pairs;
    vhost::DatapathStatus ignored;
    device_->describe(true, ignored, pairs);
    return pairs;
}

vhost::DatapathStatus VdpaDatapath::status() const {
    const Forwarder::State state = device_->forwarder().state();
    vhost::DatapathStatus status;
    status.offered = features();
    status.withheld = device_->capabilities().features & ~status.offered;
    status.device_queues = device_->capabilities().queue_pairs;
    status.stall_ms = state.stall_ms;
    if (vid_ >= 0) {
        status.fault = state.fault;
    }
    if (vid_ >= 0 && state.configured) {
        status.doorbell = state.doorbell_mapped ? "mapped" : "eventfd";
    }
    if (status.device_queues < offer_.max_queues) {
        status.notice = Error{schema::Reason::fewer_queues,
                              device_->name() + " has " + std::to_string(status.device_queues) +
                                  " queue pairs, and vdpa-max-queues asks for " +
                                  std::to_string(offer_.max_queues)};
    }
    uint32_t pairs = state.queue_pairs;
    device_->describe(vid_ >= 0, status, pairs);
    return status;
}

std::vector<schema::QueueStats> VdpaDatapath::stats() const {
    return device_->forwarder().stats(2 * queue_pairs());
}

void VdpaDatapath::reset_stats() {
    device_->forwarder().reset_stats(2 * queue_pairs());
}

}  // namespace vdpa::engine::device
