// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/vhost/live.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::vhost {

/* What serves the rings of a port's front-end: the software relay, or a vDPA device.
 *
 * Threads: (C) is for the DPDK control thread. (F) is for the vhost library's callbacks, which come
 * from its event thread, and from the control thread within rte_vhost_driver_unregister(); never
 * two at a time. The others are for any thread. (F) and the others are called with the port's lock
 * held, (C) without. */
class Datapath {
  public:
    Datapath() = default;
    Datapath(const Datapath &) = delete;
    Datapath &operator=(const Datapath &) = delete;
    /* (C) Lets go of the device. */
    virtual ~Datapath() = default;

    /* Called, from any thread, when something has changed by itself that the functions for any
     * thread tell; never from within a call of this class. Set before attach(). */
    using Observer = std::function<void()>;
    // NOLINTNEXTLINE(performance-unnecessary-value-param): datapaths keep it
    virtual void set_observer(Observer /*observer*/) {}
    /* Offers `offer` to the next front-end; none is connected. Error: whatever keeps the
     * device from it; then the former offer stands. */
    virtual Expected<void> set_offer(const Offer &offer) = 0;
    /* (C) Makes the socket that is registered with the vhost library as `library_path` this
     * datapath's, before it is started; and the reverse, before it is unregistered. */
    virtual Expected<void> attach(const std::string & /*library_path*/) { return {}; }
    virtual void detach(const std::string & /*library_path*/) {}
    /* (C) To be called every few seconds: whether the device is there, and as it was when it was
     * opened. Error: device-missing, device-failed; this datapath is of no use any more. Tries
     * again what failed and may succeed by now. */
    virtual Expected<void> check() { return {}; }
    /* (C) Somebody asks for another attempt at what failed, without waiting for its time. */
    virtual void retry() {}
    /* The virtio features to offer, with those of vhost-user. */
    virtual uint64_t features() const = 0;
    /* The vhost-user protocol features to offer, as bits. */
    virtual uint64_t protocol_features() const = 0;
    /* Queue pairs to offer. */
    virtual uint32_t queue_pairs() const = 0;
    /* Rings that a front-end may set up: two a pair, and perhaps a control queue after them. */
    virtual uint32_t ring_count() const = 0;

    /* (F) A front-end was accepted: what an earlier one left is forgotten. */
    virtual void new_connection(int vid) = 0;
    /* (F) It has gone; device_down() came before, if a device was up. Not at unregistering. */
    virtual void end_connection() {}
    /* (F) It has hung up, and the library will say so later. Whether it is served no more; false:
     * the library has to speak first. */
    [[nodiscard]] virtual bool hung_up() { return false; }
    /* The one that is connected is not to be served any more, and is about to be disconnected. For
     * the control thread, not beside an (F) call. */
    virtual void stop_serving() {}
    /* (C) Opens the netdev that the spec of make() said is awaited; until then a front-end is
     * served as far as can be without. What is returned has it used, and is for the control thread,
     * not beside an (F) call. Errors: netdev-missing; tap-failed. */
    virtual Expected<std::function<void()>> open_netdev() { return std::function<void()>(); }
    /* The same as check() to the last sentence, for what an (F) call failed at. For the control
     * thread, not beside an (F) call. */
    virtual void recover() {}
    /* (F) The front-end's device `vid` is ready: new_device of rte_vhost_device_ops. */
    virtual void device_up(int vid) = 0;
    /* (F) It stops: destroy_device. Nothing of its memory or rings is touched afterwards. */
    virtual void device_down() = 0;
    /* (F) vring_state_changed. */
    virtual void ring_enabled(uint16_t ring, bool on) = 0;
    /* (F) The library is about to handle a message that changes memory, rings or descriptors of the
     * device; resume() follows when it succeeded. False: an earlier one has failed, and with it the
     * library's view of the device; the connection cannot go on. resume() is false when the device
     * has not followed, so that the message failed after all. */
    [[nodiscard]] virtual bool quiesce() = 0;
    [[nodiscard]] virtual bool resume() = 0;
    /* (F) Reads `size` bytes, 256 at most, of the device's configuration space (virtio 1.2, 5.1.4)
     * from `offset` on; what lies past its end is 0. False: it cannot be read. */
    virtual bool read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const = 0;

    /* Queue pairs that are served now: 0 when no front-end runs. */
    virtual uint32_t enabled_queue_pairs() const = 0;
    virtual DatapathStatus status() const = 0;
    /* By ring; a ring that has no counters is there without any. */
    virtual std::vector<schema::QueueStats> stats() const = 0;
    /* Has the counters begin at 0 again. */
    virtual void reset_stats() = 0;
};

/* Makes datapaths. For the DPDK control thread. */
class DatapathMaker {
  public:
    virtual ~DatapathMaker() = default;

    /* The datapath of a port as `spec` says, which begins with the spec's offer. `takes_over`:
     * another datapath of the same port has the device now, and lets go of it before a front-end
     * comes to this one. */
    virtual Expected<std::unique_ptr<Datapath>> make(const schema::PortSpec &spec,
                                                     bool takes_over) = 0;
    /* What only one port can have at a time, where it does not share it: the name of its device.
     * Empty: there is no such thing. */
    virtual std::string exclusive_device(const schema::DeviceSpec & /*device*/) const { return ""; }
};

/* What a spec offers to front-ends. */
inline Offer offer_of(const schema::PortSpec &spec) {
    return {.max_queues = spec.max_queues, .packed = spec.packed, .offloads = spec.offloads};
}

}  // namespace vdpa::engine::vhost
