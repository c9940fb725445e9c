// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/driver.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/log.hpp"

namespace vdpa::engine::kernel {

namespace {

constexpr const char *module = "kernel_vdpa";

/* Address spaces. All rings are in the first until they are told otherwise. */
constexpr uint32_t guest_space = 0;
constexpr uint32_t control_space = 1;

/* The kernel's internal ENOTSUPP, which some drivers let through to user space. */
constexpr int kernel_enotsupp = 524;

Expected<void> checked(const Called<void> &called) {
    return called ? Expected<void>{} : fail(schema::Reason::device_failed, called.error().text);
}

void remember(std::vector<uint32_t> &rings, uint32_t ring) {
    if (std::find(rings.begin(), rings.end(), ring) == rings.end()) {
        rings.push_back(ring);
    }
}

/* What is at `place` in the guest's memory; 0 where the front-end has taken that away. A load would
 * mean SIGBUS then, and while the library takes another table nobody replaces what it was about. */
uint16_t used_index_at(const uint16_t *place) {
    uint16_t index = 0;
    const iovec here{.iov_base = &index, .iov_len = sizeof(index)};
    const iovec there{.iov_base = const_cast<uint16_t *>(place), .iov_len = sizeof(index)};
    const ssize_t got = ::process_vm_readv(::getpid(), &here, 1, &there, 1, 0);
    return got == sizeof(index) ? index : uint16_t{0};
}

}  // namespace

Driver::Driver(VhostVdpa &device, const DeviceInfo &info)
    : device_(device),
      info_(info),
      guest_map_(device, info, guest_space),
      control_map_(device, info, info.control_group ? control_space : guest_space) {}

bool Driver::keeps_map() const {
    return has(info_.backend_features, BackendFeature::iotlb_persist);
}

Expected<void> Driver::set_status(uint8_t bits) {
    const auto status = static_cast<uint8_t>(status_ | bits);
    if (auto set = checked(device_.set_status(status)); !set) {
        return set;
    }
    status_ = status;
    // The call alone does not say whether the device agreed.
    const auto now = device_.status();
    if (!now) {
        return fail(schema::Reason::device_failed, now.error().text);
    }
    constexpr unsigned bad = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET;
    if ((*now & bits) == bits && (*now & bad) == 0) {
        return {};
    }
    return fail(schema::Reason::device_failed,
                info_.path + ": its device status is " + std::to_string(*now) + " instead of " +
                    std::to_string(status) +
                    (bits == VIRTIO_CONFIG_S_FEATURES_OK
                         ? ": the device refuses the features that the guest has chosen"
                         : ": the kernel's log may say why"));
}

Expected<void> Driver::negotiate(uint64_t features) {
    reset();
    if (broken_) {
        return fail(schema::Reason::device_failed, info_.path + " was closed after a failure");
    }
    packed_ = has(features, VIRTIO_F_RING_PACKED);
    if (auto set = set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER); !set) {
        return set;
    }
    if (auto set = checked(device_.set_features(features)); !set) {
        return set;
    }
    return set_status(VIRTIO_CONFIG_S_FEATURES_OK);
}

Expected<bool> Driver::map(const std::vector<Region> &memory, const Cancellation &cancellation) {
    return guest_map_.map(memory, cancellation);
}

Expected<void> Driver::make_control_queue(const Session &session) {
    if (info_.selection != PairSelection::command || !has(session.features, VIRTIO_NET_F_MQ)) {
        return {};
    }
    const auto iova =
        free_page(info_, info_.control_group ? std::vector<Region>{} : session.memory);
    if (!iova) {
        return tl::make_unexpected(iova.error());
    }
    auto queue = ControlQueue::create(info_, session.features, *iova);
    if (!queue) {
        return tl::make_unexpected(queue.error());
    }
    if (info_.control_group) {
        if (auto set =
                checked(device_.set_group_address_space(*info_.control_group, control_space));
            !set) {
            return set;
        }
    }
    control_ = std::move(*queue);
    return control_map_.map({control_->region()}, Cancellation()).map([](bool) {});
}

Expected<void> Driver::set_up_ring(const Ring &ring, bool packed) {
    if (packed && ring.position == unknown_position) {
        return fail(schema::Reason::no_ring_state,
                    info_.path + " could not tell where ring " + std::to_string(ring.index) +
                        " stood when it was stopped; reset the guest or its virtio driver");
    }
    if (auto set = checked(device_.set_ring_size(ring.index, ring.size)); !set) {
        return set;
    }
    if (const auto set = device_.set_ring_position(ring.index, ring.position, packed); !set) {
        if (set.error().error == EOPNOTSUPP || set.error().error == kernel_enotsupp) {
            return fail(schema::Reason::no_ring_state,
                        info_.path + " takes only rings that are fresh, and ring " +
                            std::to_string(ring.index) +
                            " has been in use; reset the guest or its virtio driver");
        }
        return checked(set);
    }
    if (auto set = checked(device_.set_ring_addresses(ring.index, ring.descriptors,
                                                      ring.driver_area, ring.device_area));
        !set) {
        return set;
    }
    remember(calls_, ring.index);
    return checked(device_.set_ring_call(ring.index, ring.call.get()));
}

Expected<void> Driver::start(const Session &session, int config_call) {
    if (auto made = make_control_queue(session); !made) {
        return made;
    }
    std::optional<Ring> control_ring;
    std::vector<const Ring *> rings;
    for (const Ring &ring : session.rings) {
        rings.push_back(&ring);
    }
    if (control_) {
        auto ring = control_->ring();
        if (!ring) {
            return tl::make_unexpected(ring.error());
        }
        control_ring = std::move(*ring);
        rings.push_back(&*control_ring);
    }
    for (const Ring *ring : rings) {
        if (auto set = set_up_ring(*ring, packed_); !set) {
            return set;
        }
    }
    config_call_ = true;
    if (auto set = checked(device_.set_config_call(config_call)); !set) {
        return set;
    }
    for (const Ring *ring : rings) {
        const bool on = info_.selection != PairSelection::enable || ring->enabled;
        if (auto enabled = checked(device_.enable_ring(ring->index, on)); !enabled) {
            return enabled;
        }
    }
    // From here on the device may run, whatever the call says.
    live_ = true;
    for (const Ring &ring : session.rings) {
        rings_.push_back({ring.index, ring.used_index, std::nullopt});
    }
    if (auto set = set_status(VIRTIO_CONFIG_S_DRIVER_OK); !set) {
        return set;
    }
    // Not before: a device that does not run is not kicked (virtio 1.2, 3.1.1).
    for (const Ring *ring : rings) {
        if (auto watched = watch_kick(*ring); !watched) {
            return watched;
        }
    }
    return {};
}

Expected<void> Driver::connect_ring(const Ring &ring) {
    if (auto set = checked(device_.set_ring_call(ring.index, ring.call.get())); !set) {
        return set;
    }
    return watch_kick(ring);
}

Expected<void> Driver::watch_kick(const Ring &ring) {
    remember(kicks_, ring.index);
    if (auto set = checked(device_.set_ring_kick(ring.index, ring.kick.get())); !set) {
        return set;
    }
    // What was signalled on the eventfds before these, nobody has heard. Once too often is
    // harmless.
    signal_front_end(ring.kick.get());
    if (ring.relay) {
        ring.relay->call();
    } else {
        signal_front_end(ring.call.get());
    }
    return {};
}

Expected<void> Driver::enable_ring(uint32_t ring, bool on) {
    return checked(device_.enable_ring(ring, on));
}

Expected<bool> Driver::needs_reset() {
    const auto status = device_.status();
    if (!status) {
        return fail(schema::Reason::device_failed, status.error().text);
    }
    return (*status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)) != 0;
}

void Driver::give_up(const std::string &why) {
    VDPA_LOG(err, module, "%s; the device is closed", why.c_str());
    abandon();
}

void Driver::abandon() {
    broken_ = true;
    if (live_) {  // which others may look at while there is nothing to change
        live_ = false;
    }
    // vhost_vdpa_release() resets the device and removes all mappings.
    device_.close();
    guest_map_.forget();
    control_map_.forget();
    calls_.clear();
    kicks_.clear();
    config_call_ = false;
}

void Driver::reset() {
    status_ = 0;
    if (broken_) {
        return;
    }
    if (const auto done = device_.set_status(0); !done) {
        give_up(done.error().text);
    }
}

/* The kernel holds on to the front-end's eventfds until it is given others, or the device is
 * closed: so that is what has to happen when it does not take this. */
Called<void> Driver::disconnect_kicks() {
    Called<void> result;
    for (const uint32_t ring : kicks_) {
        if (auto done = device_.set_ring_kick(ring, VHOST_FILE_UNBIND); !done) {
            result = std::move(done);
        }
    }
    kicks_.clear();
    return result;
}

Called<void> Driver::disconnect_calls() {
    Called<void> result;
    for (const uint32_t ring : calls_) {
        if (auto done = device_.set_ring_call(ring, VHOST_FILE_UNBIND); !done) {
            result = std::move(done);
        }
    }
    calls_.clear();
    if (std::exchange(config_call_, false)) {
        if (auto done = device_.set_config_call(VHOST_FILE_UNBIND); !done) {
            result = std::move(done);
        }
    }
    return result;
}

std::vector<StoppedRing> Driver::stop() {
    std::vector<StoppedRing> stopped;
    // First, so that nothing is kicked in what follows.
    const auto without_kicks = disconnect_kicks();
    if (live_ && info_.ring_state && device_.suspend()) {
        for (LiveRing &ring : rings_) {
            if (const auto position = device_.ring_position(ring.index, packed_)) {
                ring.position = *position;
            }
        }
    }
    reset();
    live_ = false;
    for (const LiveRing &ring : rings_) {
        Position position = unknown_position;
        if (ring.position) {
            position = *ring.position;
        } else if (ring.used_index) {
            // The guest's memory says how many buffers of a split ring the device has given back;
            // those that it had taken besides, it has forgotten with the reset.
            const uint16_t used = used_index_at(ring.used_index);
            position = {used, used};
        }
        stopped.push_back({ring.index, position});
    }
    rings_.clear();
    const auto without_calls = disconnect_calls();
    const auto without_map = control_map_.unmap();
    if (!broken_ && !(without_kicks && without_calls && without_map)) {
        give_up(!without_kicks   ? without_kicks.error().text
                : !without_calls ? without_calls.error().text
                                 : without_map.error().detail);
    }
    control_.reset();
    return stopped;
}

void Driver::unmap() {
    if (const auto done = guest_map_.unmap(); !done) {
        give_up(done.error().detail);
    }
}

}  // namespace vdpa::engine::kernel
