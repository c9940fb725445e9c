// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ovs-vdpa-agent/ovs/shim/db.h"

namespace vdpa::agent::ovs {

/* Whether the row asks for a vhost-user socket, in options or external_ids. */
bool is_vdpa_port(const ovda_interface &interface);

/* Whether external_ids holds any of the keys that the agent writes. */
bool has_status_keys(const ovda_interface &interface);

/* A key of options that begins with vdpa- and means nothing; empty: there is none. */
std::string unknown_option(const ovda_interface &interface);

}  // namespace vdpa::agent::ovs
