// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schema/engine_rpc.hpp"

namespace vdpa::engine {

/* What it takes to get from one spec of a port to another. */
struct Plan {
    bool replace = false;     // a new socket or device; says everything, the others are false
    bool netdev = false;      // the netdev was awaited and is there, in place
    bool attributes = false;  // owner or permissions of the socket file, in place
    bool offer = false;       // queues or features: in place, or at the next connection

    bool operator==(const Plan &) const = default;
};

Plan plan(const schema::PortSpec &from, const schema::PortSpec &to);

}  // namespace vdpa::engine
