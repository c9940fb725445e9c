// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "engine/vhost/live.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine {

/* What became of a spec. */
struct Outcome {
    uint64_t generation = 0;                 // of the spec
    std::optional<schema::PortSpec> served;  // what is served now, the spec or an older one
    std::optional<Error> error;              // why that is not the spec

    bool operator==(const Outcome &) const = default;
};

/* The status of a port of which `spec` is the newest accepted spec, `outcome` the newest outcome
 * (none: nothing was carried out yet), and `live` what its socket reported last. */
schema::PortStatus derive_status(const schema::PortSpec &spec,
                                 const std::optional<Outcome> &outcome, const vhost::Live &live);

}  // namespace vdpa::engine
