// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "ovs-vdpa-agent/host/device_request.hpp"
#include "ovs-vdpa-agent/host/mac.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"

namespace vdpa::agent::host {

struct DevlinkPort {
    std::optional<int> ifindex;       // of its netdev; none: it has none now
    std::optional<Mac> function_mac;  // none: the driver does not tell
};

/* Synchronous requests of devlink (linux/devlink.h). Not thread-safe; each blocks for as long as
 * the driver is at work on the device, an eswitch change for seconds. */
class DevlinkRequests {
  public:
    /* EOPNOTSUPP: the kernel has no devlink. */
    static NetResult<DevlinkRequests> open();

    /* Nothing if there is no such port. */
    NetResult<std::optional<DevlinkPort>> port(const Handle &device, uint32_t index);
    /* MAC address of the function behind a port (Documentation/networking/devlink/
     * devlink-port.rst). EOPNOTSUPP: the driver does not take it. */
    NetResult<void> set_function_mac(const Handle &device, uint32_t index, const Mac &mac);

    NetResult<bool> is_switchdev(const Handle &device);
    NetResult<void> set_switchdev(const Handle &device);

  private:
    explicit DevlinkRequests(GenericNetlink netlink) : netlink_(std::move(netlink)) {}
    /* A request about the device; null without memory. */
    NlMessage request(uint8_t command, const Handle &device) const;

    GenericNetlink netlink_;
};

}  // namespace vdpa::agent::host
