// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/relay_datapath.hpp"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "engine/vhost/message.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

namespace {

uint16_t netdev_mtu(const std::string &netdev) {
    constexpr uint16_t ethernet_mtu = 1500;
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    netdev.copy(request.ifr_name, IFNAMSIZ - 1);
    if (!fd || ::ioctl(fd.get(), SIOCGIFMTU, &request) != 0) {
        return ethernet_mtu;
    }
    return static_cast<uint16_t>(std::clamp(request.ifr_mtu, 68, 65535));
}

std::map<std::string, uint64_t> counters_of(const relay::QueueStats &stats) {
    return {{"packets", stats.packets},
            {"bytes", stats.bytes},
            {"kicks", stats.kicks},
            {"interrupts", stats.interrupts},
            {"drops_no_buffer", stats.drops_no_buffer},
            {"drops_too_big", stats.drops_too_big},
            {"drops_bad_descriptor", stats.drops_bad_descriptor},
            {"drops_tap_error", stats.drops_tap_error},
            {"broken", stats.broken ? 1 : 0}};
}

}  // namespace

RelayDatapath::RelayDatapath(relay::Workers &workers, const schema::PortSpec &spec)
    : workers_(workers),
      name_(spec.name),
      netdev_(spec.device.name),
      first_max_queues_(spec.max_queues),
      netdev_awaited_(spec.netdev_awaited),
      offer_(offer_of(spec)) {}

Expected<std::unique_ptr<RelayDatapath>> RelayDatapath::make(relay::Workers &workers,
                                                             const schema::PortSpec &spec,
                                                             bool takes_over) {
    std::unique_ptr<RelayDatapath> datapath(new RelayDatapath(workers, spec));
    if (auto attached = datapath->open_relay(spec.max_queues, takes_over); !attached) {
        return tl::make_unexpected(attached.error());
    }
    return datapath;
}

Expected<void> RelayDatapath::open_relay(uint32_t max_queues, bool takes_over) {
    auto relay =
        relay::Port::attach(workers_, {.name = name_,
                                       .netdev = netdev_,
                                       .max_queue_pairs = static_cast<uint16_t>(max_queues),
                                       .takes_over = takes_over,
                                       .netdev_awaited = netdev_awaited_});
    if (!relay) {
        return tl::make_unexpected(relay.error());
    }
    relay_ = std::move(*relay);
    return {};
}

Expected<void> RelayDatapath::set_offer(const Offer &offer) {
    if (offer.max_queues != offer_.max_queues) {
        if (auto attached = open_relay(offer.max_queues, true); !attached) {
            return attached;
        }
    }
    offer_ = offer;
    return {};
}

/* What the port offers, and with it the relay, may become another meanwhile. */
Expected<std::function<void()>> RelayDatapath::open_netdev() {
    auto opened = relay::Port::open_netdev(netdev_, first_max_queues_);
    if (!opened) {
        return tl::make_unexpected(opened.error());
    }
    return [this, tap = std::move(*opened)] {
        relay_->use_netdev(tap);
        netdev_awaited_ = false;
    };
}

uint64_t RelayDatapath::features() const {
    return relay::Port::features(offer_.packed, offer_.offloads);
}

/* BACKEND_REQ is there for User-mode Linux alone, which cannot set up an interrupt without that
 * channel (arch/um/drivers/virtio_uml.c, vu_setup_vq_call_fd); nothing is ever sent over it. Not
 * among them: RARP (sent on behalf of guests that cannot announce themselves after a migration),
 * crypto, host notifiers, postcopy. */
uint64_t RelayDatapath::protocol_features() const {
    return bit(ProtocolFeature::mq) | bit(ProtocolFeature::log_shmfd) |
           bit(ProtocolFeature::reply_ack) | bit(ProtocolFeature::net_mtu) |
           bit(ProtocolFeature::backend_req) | bit(ProtocolFeature::config) |
           bit(ProtocolFeature::status);
}

/* struct virtio_net_config: no MAC, link up, pairs, MTU. Only a front-end that has no configuration
 * space of its own asks for it. */
bool RelayDatapath::read_config(int /*vid*/, uint32_t offset, uint8_t *bytes, uint32_t size) const {
    const uint16_t pairs = static_cast<uint16_t>(offer_.max_queues);
    const uint16_t mtu = netdev_mtu(netdev_);
    constexpr uint8_t link_up = 1;
    const std::array<uint8_t, 12> space = {0,
                                           0,
                                           0,
                                           0,
                                           0,
                                           0,
                                           link_up,
                                           0,
                                           static_cast<uint8_t>(pairs & 0xff),
                                           static_cast<uint8_t>(pairs >> 8),
                                           static_cast<uint8_t>(mtu & 0xff),
                                           static_cast<uint8_t>(mtu >> 8)};
    for (uint32_t i = 0; i < size; ++i) {
        const uint64_t at = uint64_t{offset} + i;
        bytes[i] = at < space.size() ? space[at] : uint8_t{0};
    }
    return true;
}

DatapathStatus RelayDatapath::status() const {
    DatapathStatus status;
    status.offered = features();
    status.withheld = relay::Port::features(true, true) & ~status.offered;
    status.fault = relay_->fault();
    return status;
}

std::vector<schema::QueueStats> RelayDatapath::stats() const {
    std::vector<schema::QueueStats> rings;
    for (const relay::QueueStats &ring : relay_->stats()) {
        rings.push_back(
            {.index = static_cast<uint32_t>(rings.size()), .counters = counters_of(ring)});
    }
    return rings;
}

}  // namespace vdpa::engine::vhost
