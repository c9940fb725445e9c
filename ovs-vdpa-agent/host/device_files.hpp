// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/device_request.hpp"

namespace vdpa::agent::host {

/* A device's files in sysfs, for acts on it (Documentation/ABI/testing/sysfs-bus-pci). What is
 * written takes the kernel as long as the act takes. Writers return an errno, or 0. */
class DeviceFiles {
  public:
    /* `root`: "/sys" but for tests. */
    DeviceFiles(const std::string &root, Handle device);

    bool exists() const;
    /* The driver that it is bound to; empty: none. */
    std::string driver() const;
    /* driver_override; empty: not set. */
    std::string driver_override() const;
    bool has_driver_of_bus(const std::string &name) const;
    /* An attribute, without the newline; nothing if it cannot be read. */
    std::optional<std::string> read(const std::string &attribute) const;
    /* The VFs of a PF: what its links virtfnN point to. */
    std::vector<Handle> vfs() const;
    /* Names of the entries of its folder that begin so. */
    std::vector<std::string> entries(const char *prefix) const;

    int write(const std::string &attribute, const std::string &value) const;
    int bind(const std::string &driver) const;
    int unbind(const std::string &driver) const;

  private:
    std::string bus_;   // the bus's folder
    std::string path_;  // the device's
    Handle device_;
};

}  // namespace vdpa::agent::host
