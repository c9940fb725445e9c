// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace vdpa::engine::relay {

/* What one ring did since its port was attached. A ring that the guest fills to transmit counts
 * what it sent to the TAP netdev, one that it fills to receive what came from there. Plain numbers,
 * a snapshot. */
struct QueueStats {
    uint64_t packets = 0;               // frames handed over; a GSO frame is one
    uint64_t bytes = 0;                 // of those, without the virtio-net header
    uint64_t kicks = 0;                 // notifications from the guest
    uint64_t interrupts = 0;            // notifications to the guest
    uint64_t drops_no_buffer = 0;       // the guest had posted no buffers that could hold the frame
    uint64_t drops_too_big = 0;         // no frame of this size can ever pass
    uint64_t drops_bad_descriptor = 0;  // malformed header, chain or ring; see also broken
    uint64_t drops_tap_error = 0;  // the TAP netdev refused the frame (it is down, for example)
    bool broken =
        false;  // the driver broke the rules of the ring: it is not served until set up anew
};

/* What was counted between two snapshots of one ring. */
inline QueueStats since(const QueueStats &before, const QueueStats &now) {
    return {.packets = now.packets - before.packets,
            .bytes = now.bytes - before.bytes,
            .kicks = now.kicks - before.kicks,
            .interrupts = now.interrupts - before.interrupts,
            .drops_no_buffer = now.drops_no_buffer - before.drops_no_buffer,
            .drops_too_big = now.drops_too_big - before.drops_too_big,
            .drops_bad_descriptor = now.drops_bad_descriptor - before.drops_bad_descriptor,
            .drops_tap_error = now.drops_tap_error - before.drops_tap_error,
            .broken = now.broken};
}

/* A counter with one writer at a time (the worker of the ring) and any number of readers: an
 * ordinary addition for the one, an untorn value for the others. */
class Counter {
  public:
    void add(uint64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<uint64_t> value_{0};
};

/* The live form of QueueStats. */
struct QueueCounters {
    Counter packets, bytes, kicks, interrupts;
    Counter no_buffer, too_big, bad_descriptor, tap_error;
    std::atomic<bool> broken{false};

    QueueStats read() const {
        return {.packets = packets.get(),
                .bytes = bytes.get(),
                .kicks = kicks.get(),
                .interrupts = interrupts.get(),
                .drops_no_buffer = no_buffer.get(),
                .drops_too_big = too_big.get(),
                .drops_bad_descriptor = bad_descriptor.get(),
                .drops_tap_error = tap_error.get(),
                .broken = broken.load(std::memory_order_relaxed)};
    }
};

}  // namespace vdpa::engine::relay
