// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace vdpa::engine::device {

/* Hears of devices that come or go. DPDK tells when a driver of its own is asked to let go of one:
 * the kernel asks so, for a device of vfio-pci, before it unbinds or removes it, and waits. */
class DeviceEvents {
  public:
    /* From a thread of DPDK. `removed`: it goes; else it has come. */
    using Handler = std::function<void(const std::string &name, bool removed)>;

    /* Needs a running EAL; one object in a process. */
    explicit DeviceEvents(Handler handler);
    /* Waits for a call of the handler. */
    ~DeviceEvents();
    DeviceEvents(const DeviceEvents &) = delete;
    DeviceEvents &operator=(const DeviceEvents &) = delete;

  private:
    Handler handler_;
};

}  // namespace vdpa::engine::device
