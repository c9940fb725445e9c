// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory_builder.hpp"

namespace vdpa::agent::host {

/* A host as fixtures/NAME.json describes it. Its netdevs and devlink ports become netlink messages,
 * its devices a tree of files, and both are read as those of the kernel are. */
struct Fixture {
    explicit Fixture(const std::string &name);

    Inventory inventory() const { return build_inventory(devlink, links, sysfs, vdpa); }

    nlohmann::json description;
    DevlinkState devlink;
    Links links;
    SysfsSnapshot sysfs;
    VdpaState vdpa;
};

/* Makes the tree below `root` that a fixture's "sysfs" describes. */
void make_sysfs(const nlohmann::json &description, const std::string &root);

std::vector<std::string> fixture_names();

}  // namespace vdpa::agent::host
