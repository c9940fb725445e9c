// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "engine/vdpa/device_address.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::device {

/* What the kernel says, in sysfs, of a device that DPDK is to drive (Documentation/ABI/testing/
 * sysfs-bus-pci). Devices of other buses than PCI and auxiliary have no entry there: all that can
 * be said of them is that they may be there. */
class HostDevice {
  public:
    /* `sysfs`: "/sys", but for tests. */
    explicit HostDevice(DeviceAddress address, std::string sysfs = "/sys");

    const DeviceAddress &address() const { return address_; }

    /* What tells this device from one that is at the same place later: it changes when the device
     * goes and comes, when a driver lets go of it or takes it, and when the RDMA device that its
     * driver made is made again, which is what mlx5_core does to recover from an error of the NIC
     * or a reset. Empty: there is no such device. */
    std::string identity() const;

    /* Whether DPDK can use the device as it is. Errors: device-missing; driver-mismatch, which
     * names the driver that it has to be bound to. */
    Expected<void> check() const;

    /* All that rte_dev_probe() has to be told for DPDK to use the device for vDPA: its drivers
     * serve other classes of devices as well, and want to be asked for this one. */
    std::string devargs() const;

  private:
    struct Driver {
        std::string name;           // of DPDK
        std::string kernel_driver;  // that it works with
        std::string argument;       // key=value
    };

    bool in_sysfs() const { return address_.bus != DeviceAddress::Bus::other; }
    std::string folder() const;
    std::string read_id(const char *attribute) const;
    std::string bound_to() const;
    std::optional<Driver> driver() const;

    DeviceAddress address_;
    std::string sysfs_;
};

}  // namespace vdpa::engine::device
