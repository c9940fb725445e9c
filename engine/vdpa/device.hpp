// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/vdpa/forwarder.hpp"
#include "engine/vhost/live.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::device {

/* What a device can do; read once, when it is opened. */
struct Capabilities {
    uint32_t queue_pairs = 0;
    uint64_t features = 0;
    uint64_t protocol_features = 0;
};

/* A vDPA device that is open, and whose operations go through a Forwarder. Made, checked and ended
 * on the DPDK control thread, while no socket has it; otherwise for any thread. */
class Device {
  public:
    virtual ~Device() = default;
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    const std::string &name() const { return name_; }
    const Capabilities &capabilities() const { return capabilities_; }
    Forwarder &forwarder() { return *forwarder_; }

    /* Whether it is there, and what it was when it was opened. Errors: device-missing,
     * device-failed. */
    virtual Expected<void> check() = 0;
    /* Rings of a control queue that the device takes after those of its pairs: 0 or 1. */
    virtual uint32_t control_rings() const { return 0; }
    /* Who hears what the device does by itself, from begin to end of a connection. */
    // NOLINTNEXTLINE(performance-unnecessary-value-param): devices keep it
    virtual void begin(std::shared_ptr<Announcer> /*observer*/) {}
    virtual void end() {}
    /* The library has handled a message of the front-end `vid`, on its event thread. */
    virtual void message_handled(int /*vid*/) {}
    /* Adds what is known of the device to `status`; and has `pairs`, which are those that its
     * driver was told to serve, be those that it does serve. `served`: it has a front-end. */
    virtual void describe(bool /*served*/, vhost::DatapathStatus & /*status*/,
                          uint32_t & /*pairs*/) const {}

  protected:
    Device(std::string name, rte_vdpa_device &handle, const Capabilities &capabilities)
        : name_(name), capabilities_(capabilities), forwarder_(std::in_place, name, handle) {}
    /* Gives the device back to its driver; first of all in the destructor of a derived class. */
    void release() { forwarder_.reset(); }

  private:
    const std::string name_;
    const Capabilities capabilities_;
    std::optional<Forwarder> forwarder_;
};

/* Asks the driver of `device`, called `name`, what it can do. Error: device-failed, device-
 * unsupported when it is no network device. */
Expected<Capabilities> read_capabilities(const std::string &name, rte_vdpa_device &device);

}  // namespace vdpa::engine::device
