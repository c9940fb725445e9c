// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "engine/vdpa/device.hpp"
#include "engine/vdpa/host_device.hpp"

namespace vdpa::engine::device {

/* A VF, SF or other device that one of DPDK's vDPA drivers serves: plugged into DPDK when it is
 * opened, and out of it again when it ends. */
class HardwareDevice final : public Device {
  public:
    /* Errors: device-missing, driver-mismatch; device-unsupported: no vDPA driver of DPDK takes it;
     * device-busy; device-failed. */
    static Expected<std::unique_ptr<HardwareDevice>> open(const HostDevice &host);
    ~HardwareDevice() override;

    Expected<void> check() override;
    /* DPDK has said that the device goes away. */
    void on_removed() { removed_ = true; }

  private:
    HardwareDevice(const HostDevice &host, rte_vdpa_device &handle, const Capabilities &found);

    const HostDevice host_;
    const std::string identity_;
    rte_device &device_;
    std::atomic<bool> removed_{false};
};

}  // namespace vdpa::engine::device
