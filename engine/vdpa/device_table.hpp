// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/vdpa/hardware_device.hpp"
#include "engine/vdpa/kernel_port_device.hpp"

namespace vdpa::engine::device {

/* The devices that ports of this engine have open. For the DPDK control thread. */
class DeviceTable {
  public:
    /* `sysfs`: "/sys", but for tests. */
    explicit DeviceTable(std::string sysfs = "/sys") : sysfs_(std::move(sysfs)) {}

    /* The device that `text`, as for parse_device_address(), names. One that is open is shared: a
     * port that gets another socket has its device on both for a moment. It ends with its last
     * owner. Errors: those of HardwareDevice::open(), bad-device; device-busy: it is open with
     * other arguments. */
    Expected<std::shared_ptr<Device>> open_hardware(const std::string &text);

    /* The kernel vDPA device with the character device `path`; shared in the same way. Errors:
     * those of KernelPortDevice::open(). */
    Expected<std::shared_ptr<Device>> open_kernel(const std::string &path);

    /* DPDK says that the device of that name goes away. */
    void on_removed(const std::string &name);

  private:
    struct Entry {
        DeviceAddress address;
        std::weak_ptr<HardwareDevice> device;
    };

    const std::string sysfs_;
    std::map<std::string, Entry> hardware_;
    std::map<std::string, std::weak_ptr<KernelPortDevice>> kernel_;
};

}  // namespace vdpa::engine::device
