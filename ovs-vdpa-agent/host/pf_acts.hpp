// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/pf_service.hpp"

namespace vdpa::agent::host {

/* The steps that prepare a PF, carried out: by sysfs, devlink and rtnetlink. Every call blocks for
 * as long as the driver takes, which may be seconds. Thread-safe for different PFs. */
class PfActs {
  public:
    /* `sysfs`: "/sys" but for tests. */
    explicit PfActs(OwnedFile record, std::string sysfs = "/sys")
        : record_(std::move(record)), sysfs_(std::move(sysfs)) {}

    /* See PfService::carry_out(). What has been done already, or is gone with its device, is no
     * error. */
    Expected<void> carry_out(const PfStep &step);

  private:
    Expected<void> set_num_vfs(const PfStep &step);
    Expected<void> remove_vfs(const Handle &pf);
    Expected<void> set_switchdev(const PfStep &step);
    Expected<void> unbind_vf(const PfStep &step);
    Expected<void> bind_vf(const PfStep &step);
    Expected<void> forget_vf(const Handle &vf);
    Expected<void> end(const Handle &pf);

    OwnedFile record_;
    std::string sysfs_;
};

}  // namespace vdpa::agent::host
