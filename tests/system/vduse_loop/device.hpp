// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/relay/virtqueue.hpp"
#include "memory.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::test {

struct DeviceOptions {
    std::string name;
    uint16_t pairs = 1;
    bool packed = true;
};

/* A network device of several queue pairs, each of which returns what it is sent: the device's side
 * of VDUSE (linux/vduse.h; drivers/vdpa/vdpa_user/vduse_dev.c). It offers MQ, but no control queue,
 * which VDUSE does not allow: a pair is in use when its rings are enabled. */
class Device {
  public:
    /* Exits if the kernel does not make the device. */
    explicit Device(const DeviceOptions &options);
    /* The kernel keeps the device while it is on the vDPA bus. */
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    /* Readable when there is a request. */
    int fd() const { return device_.get(); }
    void answer_request();
    /* Readable when a transmit ring was kicked. */
    int kick_fd(uint16_t pair) const { return kicks_[pair].get(); }
    /* Returns what was sent on the pair. */
    void loop(uint16_t pair);
    /* Sets or clears VIRTIO_NET_S_LINK_UP, and tells the driver. */
    void set_link(bool up);
    /* Frames returned so far. */
    const std::vector<uint64_t> &frames() const { return frames_; }

  private:
    uint16_t ring_count() const { return static_cast<uint16_t>(2 * options_.pairs); }
    void start();
    void stop();
    bool enabled(uint16_t ring) const;
    std::unique_ptr<engine::relay::Virtqueue> open_ring(uint16_t ring);
    void interrupt(uint16_t ring) const;

    const DeviceOptions options_;
    UniqueFd control_;
    UniqueFd device_;
    std::vector<UniqueFd> kicks_;  // of the transmit rings, by pair
    std::unique_ptr<Memory> memory_;
    uint64_t features_ = 0;
    std::vector<std::unique_ptr<engine::relay::Virtqueue>> rings_;  // while it runs
    std::vector<uint64_t> frames_;
};

}  // namespace vdpa::test
