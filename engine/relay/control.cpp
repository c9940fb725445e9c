// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/control.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "engine/relay/features.hpp"

namespace vdpa::engine::relay {

namespace {

constexpr unsigned burst_commands = 16;

/* Class, command and the largest argument that is looked at. */
constexpr size_t command_bytes = 2 + sizeof(virtio_net_ctrl_mq);

}  // namespace

Control::Control(Ring &ring, uint64_t features, std::function<bool(uint16_t)> set_pairs)
    : ring_(ring), features_(features), set_pairs_(std::move(set_pairs)) {}

unsigned Control::burst(Segments &scratch) {
    unsigned commands = 0;
    while (commands < burst_commands) {
        Chain chain;
        scratch.clear();
        const Fetch result = ring_.queue().fetch(chain, scratch);
        if (result == Fetch::empty) {
            break;
        }
        if (result == Fetch::broken || chain.cut || !answer(chain, scratch)) {
            ring_.mark_broken();
            break;
        }
        ring_.queue().use(chain, 1);
        commands++;
    }
    ring_.counters().packets.add(commands);
    ring_.publish();
    return commands;
}

bool Control::answer(const Chain &chain, const Segments &segments) {
    if (chain.writable == 0) {
        return false;  // no room for the answer: nothing that can be said
    }
    std::array<uint8_t, command_bytes> command{};
    size_t size = 0;
    uint64_t readable = chain.readable;
    for (size_t n = 0; n < segments.count(); n++) {
        const iovec &piece = segments.iov()[n];
        if (readable != 0) {
            const size_t here = std::min(piece.iov_len, command.size() - size);
            std::memcpy(command.data() + size, piece.iov_base, here);
            size += here;
            readable -= piece.iov_len;
        } else {
            const uint8_t ack = execute(command.data(), size) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
            std::memcpy(piece.iov_base, &ack, sizeof ack);
            ring_.log().mark(segments.guest_addr()[n], sizeof ack);
            return true;
        }
    }
    return false;
}

bool Control::execute(const uint8_t *command, size_t size) const {
    if (size < 2) {
        return false;
    }
    switch (command[0]) {
        case VIRTIO_NET_CTRL_RX:    // a TAP delivers what is sent to it; the guest
        case VIRTIO_NET_CTRL_MAC:   // filters by itself what it asked to have
        case VIRTIO_NET_CTRL_VLAN:  // filtered, which the specification allows (5.1.6.5.1)
        case VIRTIO_NET_CTRL_ANNOUNCE:
            return true;
        case VIRTIO_NET_CTRL_MQ: {
            virtio_net_ctrl_mq pairs;
            if (command[1] != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || size < 2 + sizeof pairs ||
                !has(features_, VIRTIO_NET_F_MQ)) {
                return false;
            }
            std::memcpy(&pairs, command + 2, sizeof pairs);
            return set_pairs_ && set_pairs_(pairs.virtqueue_pairs);
        }
        default:  // offloads among them: CTRL_GUEST_OFFLOADS is not offered
            return false;
    }
}

}  // namespace vdpa::engine::relay
