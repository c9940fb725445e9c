// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ovs-vdpa-agent/control_thread.hpp"
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"

namespace vdpa::agent {

/* Registers the agent's unixctl commands vdpa/show, vdpa/explain, vdpa/devices and vdpa/stats. All
 * but the last are answered from what was last published, whatever the control thread is doing.
 * `control` is looked at when a command is given, on the OVS thread. */
void register_commands(ovs::OvsThread &ovs_thread, const std::unique_ptr<ControlThread> &control);

}  // namespace vdpa::agent
