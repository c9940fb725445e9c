// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/vdpa/kernel/control_queue.hpp"
#include "engine/vdpa/kernel/device_info.hpp"
#include "engine/vdpa/kernel/memory_map.hpp"
#include "engine/vdpa/kernel/session.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::kernel {

/* Where a ring stood when the device was stopped. */
struct StoppedRing {
    uint32_t index = 0;
    Position position;

    bool operator==(const StoppedRing &) const = default;
};

/* Of a virtio driver the part that the guest's own cannot do from behind vhost-user: brings a
 * device from reset to DRIVER_OK and back (virtio 1.2, 3.1.1). What vhost-vdpa allows after what is
 * in drivers/vhost/vdpa.c. Not thread-safe; waits for nothing but the kernel.
 *
 *             negotiate()             map()            start()
 *     reset ─────────────▶ features ────────▶ mapped ─────────▶ live
 *      ▲  ▲                   │                │ ▲               │
 *      │  └───────────────────┘                │ └─negotiate()─┐ │
 *      └────────────────unmap()────────────────┘      stopped ◀┴─┘ stop()
 *
 * After a failure, and in any state, stop() and unmap() undo whatever was done. */
class Driver {
  public:
    Driver(VhostVdpa &device, const DeviceInfo &info);
    Driver(const Driver &) = delete;
    Driver &operator=(const Driver &) = delete;

    /* Resets the device and has it accept `features`, made by features_for_device(). Error:
     * device-failed. */
    Expected<void> negotiate(uint64_t features);
    /* Maps the guest's memory. False: cancelled. Error: device-failed. */
    Expected<bool> map(const std::vector<Region> &memory, const Cancellation &cancellation);
    /* Sets up the rings, and one of commands where the device wants it, and lets the device run.
     * `config_call`: an eventfd for changes of the configuration space. Errors: device-failed;
     * no-ring-state: the device cannot begin where the rings stand. */
    Expected<void> start(const Session &session, int config_call);

    bool live() const { return live_; }
    /* There is something for unmap() to do. */
    bool mapped() const { return !guest_map_.empty() || !control_map_.empty(); }
    /* What was mapped is still there after stop(). */
    bool keeps_map() const;
    /* The device did not do as it was told, and was closed therefore, which resets it. */
    bool broken() const { return broken_; }

    /* Live: the kernel watches the kick, and signals the call, of this ring from now on. Error:
     * device-failed. */
    Expected<void> connect_ring(const Ring &ring);
    /* Live: for PairSelection::enable. Error: device-failed. */
    Expected<void> enable_ring(uint32_t ring, bool on);
    /* Live: for PairSelection::command; else null. */
    ControlQueue *control_queue() { return live_ ? control_.get() : nullptr; }
    /* Whether the device has given up (virtio 1.2, 2.1, DEVICE_NEEDS_RESET). Error:
     * device-failed. */
    Expected<bool> needs_reset();

    /* Stops and resets the device: when this returns it touches no memory any more. Says where the
     * rings stand that were live; memory of the guest is read for it. */
    std::vector<StoppedRing> stop();
    /* Removes all mappings; not while live. The device is closed if it does not let go. */
    void unmap();
    /* Closes the device. broken() from now on. */
    void abandon();

  private:
    struct LiveRing {
        uint32_t index;
        const uint16_t *used_index;
        std::optional<Position> position;
    };

    Expected<void> set_status(uint8_t bits);
    Expected<void> make_control_queue(const Session &session);
    Expected<void> set_up_ring(const Ring &ring, bool packed);
    Expected<void> watch_kick(const Ring &ring);
    Called<void> disconnect_kicks();
    Called<void> disconnect_calls();
    void reset();
    void give_up(const std::string &why);

    VhostVdpa &device_;
    const DeviceInfo &info_;
    MemoryMap guest_map_;
    MemoryMap control_map_;
    std::unique_ptr<ControlQueue> control_;
    std::vector<LiveRing> rings_;  // of the guest, while live
    std::vector<uint32_t> calls_;  // rings that have a call eventfd
    std::vector<uint32_t> kicks_;
    bool config_call_ = false;
    bool packed_ = false;
    uint8_t status_ = 0;
    bool live_ = false;
    bool broken_ = false;
};

}  // namespace vdpa::engine::kernel
