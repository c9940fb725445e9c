// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "schema/support/error.hpp"

namespace vdpa::engine::vhost {

/* What a port offers to a front-end. It cannot change under one that is connected. */
struct Offer {
    uint32_t max_queues = 1;
    bool packed = false;
    bool offloads = false;

    bool operator==(const Offer &) const = default;
};

/* What a datapath says of itself and of the device behind it. */
struct DatapathStatus {
    uint64_t offered = 0;         // virtio features, with those of vhost-user
    uint64_t withheld = 0;        // features that the device has and that are not offered
    uint32_t device_queues = 0;   // queue pairs that the device has; 0: not known
    std::string doorbell;         // "mapped" or "eventfd"; empty: nothing rings it now
    std::string mac;              // in the device's configuration space; empty: not known
    uint16_t mtu = 0;             // there; 0: not known
    uint32_t stall_ms = 0;        // the longest that it has held up the library's event thread
    std::optional<Error> fault;   // why it does not serve the front-end, or not as it should
    std::optional<Error> notice;  // what the operator should know and need not act on

    bool operator==(const DatapathStatus &) const = default;
};

/* What is going on at a port. */
struct Live {
    bool connected = false;
    uint32_t queues = 0;         // pairs that are served; the port runs when there are any
    uint64_t features = 0;       // negotiated; 0 while no device is up
    uint64_t connections = 0;    // front-ends accepted so far
    Offer offer;                 // what the connected, or else the next, front-end is offered
    std::optional<Error> fault;  // what went wrong without anybody waiting for an answer
    DatapathStatus datapath;

    bool operator==(const Live &) const = default;
};

}  // namespace vdpa::engine::vhost
