// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ovs-vdpa-agent/ovs/shim/db.h"

namespace vdpa::agent::ovs {

/* Whether the row asks for a vhost-user socket, in options or external_ids. */
bool is_vdpa_port(const ovda_interface &interface);

/* Whether external_ids holds any of the keys that the agent writes. */
bool has_status_keys(const ovda_interface &interface);

}  // namespace vdpa::agent::ovs
