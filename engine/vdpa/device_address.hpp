// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "schema/support/error.hpp"

namespace vdpa::engine::device {

/* A device of DPDK as a spec names it. */
struct DeviceAddress {
    enum class Bus { pci, auxiliary, other };

    Bus bus = Bus::other;
    /* As DPDK has it: 0000:43:00.2, mlx5_core.sf.4; on another bus, whatever its name is there. */
    std::string name;
    /* What rte_dev_probe() takes to find it: the name, with the bus where that does not follow. */
    std::string identifier;
    /* The operator's own k=v,k=v; empty: none. */
    std::string arguments;

    /* Whether `key` is one of the arguments. */
    bool has_argument(const std::string &key) const;

    bool operator==(const DeviceAddress &) const = default;
};

/* `text` is BDF[,k=v...], with or without a PCI domain; auxiliary:NAME[,k=v...]; or a device of
 * another bus that this DPDK knows, as [BUS:]NAME[,k=v...]. Error: bad-device. */
Expected<DeviceAddress> parse_device_address(const std::string &text);

}  // namespace vdpa::engine::device
