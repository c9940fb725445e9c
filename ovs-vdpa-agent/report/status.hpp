// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::report {

/* The keys that a port's row is to have in external_ids. Every key of ours is among them, so what
 * does not apply is removed. */
ovs::StatusUpdate port_status(const PortView &view);

/* The same for a row that is no vDPA port any more. */
ovs::StatusUpdate no_port_status(const std::string &interface);

/* The keys of the Open_vSwitch row. */
ovs::StatusUpdate host_status(const HostView &view);

}  // namespace vdpa::agent::report
