// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/device_request.hpp"
#include "ovs-vdpa-agent/host/netlink.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

inline bool contains(const std::vector<std::string> &names, const std::string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/* Sentences that several acts on netdevs share. */

inline tl::unexpected<Error> representor_failed(const FunctionId &function, const std::string &what,
                                                const NetlinkError &error) {
    return fail(schema::Reason::representor_failed,
                "representor of " + function.text() + ": " + what + ": " + error.detail);
}

inline tl::unexpected<Error> name_taken(const std::string &name) {
    return fail(schema::Reason::name_taken,
                "a netdev named " + name +
                    " exists that this agent did not make: rename or delete it, or give the "
                    "Interface another name");
}

}  // namespace vdpa::agent::host
