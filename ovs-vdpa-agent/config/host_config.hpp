// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/options.hpp"

namespace vdpa::agent::config {

/* What Open_vSwitch:other_config says, validated. A key with a bad value is as if absent, and is in
 * `errors`. */
struct HostConfig {
    schema::GlobalOptions options;
    /* What engines are started with. */
    schema::EngineStartParams engine;
    /* PFs to prepare, each once, in the order in which they are given. A bad word of vdpa-pfs is
     * among the errors; the others count. */
    std::vector<host::PfSpec> pfs;
    /* Open vSwitch's own key: ovs-vswitchd completes checksums and segments frames that a guest
     * left unfinished, on bridges of the userspace datapath. */
    bool userspace_tso = false;
    std::vector<Error> errors;
    std::vector<std::string> unknown_keys;
};

HostConfig parse_host_config(const ovs::GlobalRow &row);

/* Whether `path` lies in one of `folders` or below. */
bool lies_below(const std::string &path, const std::vector<std::string> &folders);

}  // namespace vdpa::agent::config
