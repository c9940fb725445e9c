// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/vdpa_kernel.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"

namespace vdpa::agent::host {

/* Kernel vDPA devices that are ours to make and to remove. Every call blocks for as long as the
 * kernel takes. Not thread-safe. */
class VdpaDevices {
  public:
    /* `sysfs`: "/sys" but for tests. */
    VdpaDevices(std::unique_ptr<VdpaKernel> kernel, OwnedFile record, std::string sysfs = "/sys");

    /* See VdpaService::ensure_vdpa(). One of ours that was made with other settings is made anew
     * unless somebody has it open; then it is named in `notes`. A device that the kernel's own
     * virtio driver took is handed to vhost_vdpa. */
    Expected<VdpaService::Made> ensure(const VdpaSpec &spec);
    /* See VdpaService::remove_vdpa(). Error: device-busy while somebody has it open, or may have,
     * for the kernel would wait for him, and everybody else who asks about vDPA for the kernel. */
    Expected<void> remove(const std::string &name);
    /* See VdpaService::owned_vdpa(). */
    Expected<std::vector<std::string>> owned();
    /* See VdpaService::vdpa_stats(). Of a device that keeps none, or whose driver is not ready, no
     * queue has any. */
    Expected<std::map<uint32_t, VdpaCounters>> stats(const std::string &name, uint32_t queues);

  private:
    /* Whether there is one of that name that is ours; name-taken where `is_wanted` and it is not.
     */
    Expected<bool> has_ours(const std::string &name, bool is_wanted);
    Expected<std::vector<std::string>> add(const VdpaSpec &spec);
    Expected<std::string> bound_path(const std::string &name);
    /* device-busy, when somebody has it open, or when that cannot be found out. */
    Expected<void> check_free(const std::string &name);
    std::string path(const std::string &name) const;

    std::unique_ptr<VdpaKernel> kernel_;
    OwnedFile record_;
    std::string sysfs_;
};

}  // namespace vdpa::agent::host
