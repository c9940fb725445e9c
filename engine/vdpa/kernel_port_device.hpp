// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "engine/vdpa/device.hpp"
#include "engine/vdpa/kernel/kernel_device.hpp"

namespace vdpa::engine::device {

/* A kernel vDPA device as the device of a port. */
class KernelPortDevice final : public Device {
  public:
    /* `path`: /dev/vhost-vdpa-N. Errors: device-missing, device-busy, kernel-lacks,
     * device-failed. */
    static Expected<std::unique_ptr<KernelPortDevice>> open(const std::string &path);
    ~KernelPortDevice() override;

    Expected<void> check() override;
    void begin(std::shared_ptr<Announcer> observer) override;
    void end() override;
    void message_handled(int vid) override { kernel_->after_message(vid); }
    void describe(bool served, vhost::DatapathStatus &status, uint32_t &pairs) const override;

  private:
    /* Where the device's thread finds who is to hear of a change. */
    struct Listener {
        std::mutex mutex;
        std::shared_ptr<Announcer> observer;

        void announce();
    };

    KernelPortDevice(const std::string &path, std::unique_ptr<kernel::KernelDevice> kernel,
                     std::shared_ptr<Listener> listener, const Capabilities &found);

    const std::shared_ptr<Listener> listener_;
    const std::unique_ptr<kernel::KernelDevice> kernel_;
};

}  // namespace vdpa::engine::device
