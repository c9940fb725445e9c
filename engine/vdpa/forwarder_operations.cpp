// SPDX-License-Identifier: Apache-2.0
// The side of Forwarder that the vhost library calls: how it gets between the two.
#include "engine/vdpa/forwarder.hpp"

#include <cstddef>
#include <utility>

#include "engine/vdpa/doorbell.hpp"
#include "engine/vhost/message.hpp"

namespace vdpa::engine::device {

/* The operations that the library calls, in place of the driver's. */
struct Forwarder::Operations {
    static int get_queue_num(rte_vdpa_device *device, uint32_t *pairs) {
        Forwarder &self = *of(device);
        const std::lock_guard lock(self.mutex_);
        *pairs = self.limits_.queue_pairs;
        return 0;
    }
    static int get_features(rte_vdpa_device *device, uint64_t *features) {
        Forwarder &self = *of(device);
        const std::lock_guard lock(self.mutex_);
        *features = self.limits_.features;
        return 0;
    }
    static int get_protocol_features(rte_vdpa_device *device, uint64_t *features) {
        Forwarder &self = *of(device);
        const std::lock_guard lock(self.mutex_);
        *features = self.limits_.protocol_features;
        return 0;
    }
    static int dev_conf(int vid) {
        of_connection(vid).configure(vid);
        return 0;
    }
    static int dev_close(int vid) {
        of_connection(vid).close(vid);
        return 0;
    }
    static int dev_cleanup(int vid) { return of_connection(vid).cleanup(vid); }
    static int set_vring_state(int vid, int ring, int on) {
        return of_connection(vid).enable_ring(vid, ring, on != 0);
    }
    static int set_features(int vid) { return of_connection(vid).set_features(vid); }
    static int set_config(int vid, uint8_t *config, uint32_t offset, uint32_t size,
                          uint32_t flags) {
        constexpr uint32_t space = sizeof(vhost::DeviceConfig::region);
        if (size > space || offset > space - size) {
            return -1;
        }
        return of_connection(vid).driver_.set_config(vid, config, offset, size, flags);
    }

    /* The library calls an operation of the device that it has for the connection. */
    static Forwarder &of_connection(int vid) { return *of(rte_vhost_get_vdpa_device(vid)); }
};

Forwarder::Forwarder(std::string name, rte_vdpa_device &device)
    : name_(std::move(name)),
      device_(device),
      original_(device.ops),
      driver_(*device.ops),
      table_{*device.ops, this} {
    static_assert(offsetof(Table, operations) == 0);
    rte_vdpa_dev_ops &operations = table_.operations;
    operations.get_queue_num = Operations::get_queue_num;
    operations.get_features = Operations::get_features;
    operations.get_protocol_features = Operations::get_protocol_features;
    operations.dev_conf = Operations::dev_conf;
    operations.dev_close = Operations::dev_close;
    operations.set_vring_state = Operations::set_vring_state;
    operations.set_features = Operations::set_features;
    // The library looks whether a driver has one of these.
    operations.dev_cleanup = driver_.dev_cleanup ? Operations::dev_cleanup : nullptr;
    operations.set_config = driver_.set_config ? Operations::set_config : nullptr;
    device_.ops = &operations;
    watch_doorbells();
}

Forwarder::~Forwarder() {
    device_.ops = original_;
}

Forwarder *Forwarder::of(const rte_vdpa_device *device) {
    if (!device || device->ops->dev_conf != Operations::dev_conf) {
        return nullptr;
    }
    return reinterpret_cast<const Table *>(device->ops)->self;
}

}  // namespace vdpa::engine::device
