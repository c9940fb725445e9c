// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* Why DPDK cannot drive the function of `owner`, and what to do: no-device, where it is no device
 * of this host; driver-mismatch, which names the driver that it is bound to and the one that is
 * needed. */
std::optional<Error> dpdk_problem(const Pf &owner, const Function &function);

/* No driver is bound to the PF, so it has neither VFs nor an eswitch: pf-missing. */
std::optional<Error> driver_problem(const Pf &pf);

/* The mode of the PF's eswitch is not known, and why: eswitch-unread. */
std::optional<Error> eswitch_problem(const Pf &pf);

/* Somebody else uses the function on this host: device-busy. */
std::optional<Error> busy_problem(const Function &function);

/* There is no driver that would give a vDPA device a character device: kernel-lacks. `what` is the
 * device in the words of whom it concerns. */
std::optional<Error> vhost_problem(const Inventory &inventory, const std::string &what);

/* A kernel vDPA device of `inventory` that has no character device: kernel-lacks where there is no
 * driver for that, else device-missing. */
std::optional<Error> vdpa_problem(const Inventory &inventory, const VdpaDevice &device);

}  // namespace vdpa::agent::host
