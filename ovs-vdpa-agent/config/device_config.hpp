// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "ovs-vdpa-agent/config/port_config.hpp"
#include "schema/options.hpp"

namespace vdpa::agent::config {

/* Reads what a row says of its device into `config`: the request, and of the function the MAC
 * address and MTU; or the TAP of an emulated VF, whose MAC address is its guest's own affair. What
 * is wrong is added to `errors`: bad-device, bad-representor, device-mismatch, bad-mac, and
 * device-unsupported, for the software datapath on a device. */
void read_device(const ovs::InterfaceRow &row, const schema::InterfaceOptions &options,
                 PortConfig &config, std::vector<Error> &errors);

}  // namespace vdpa::agent::config
