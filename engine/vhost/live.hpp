// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "schema/support/error.hpp"

namespace vdpa::engine::vhost {

/* What a port offers to a front-end. It cannot change under one that is connected. */
struct Offer {
    uint32_t max_queues = 1;
    bool packed = false;
    bool offloads = false;

    bool operator==(const Offer &) const = default;
};

/* What is going on at a port. */
struct Live {
    bool connected = false;
    uint32_t queues = 0;         // pairs that are served; the port runs when there are any
    uint64_t features = 0;       // negotiated; 0 while no device is up
    uint64_t connections = 0;    // front-ends accepted so far
    Offer offer;                 // what the connected, or else the next, front-end is offered
    std::optional<Error> fault;  // what went wrong without anybody waiting for an answer

    bool operator==(const Live &) const = default;
};

}  // namespace vdpa::engine::vhost
