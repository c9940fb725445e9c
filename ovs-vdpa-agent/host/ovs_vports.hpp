// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/netlink.hpp"

namespace vdpa::agent::host {

/* The ports of kernel Open vSwitch, linux/openvswitch.h. A datapath is named by the ifindex of its
 * own netdev, which is the master of the netdevs that are attached to it. Not thread-safe. */
class OvsVports {
  public:
    /* Nothing if the kernel's Open vSwitch is not loaded. */
    static NetResult<std::optional<OvsVports>> open();

    /* Number of the port that is the netdev with that index; nothing if there is none, or if that
     * is no datapath. */
    NetResult<std::optional<uint32_t>> find(int datapath, int ifindex);
    /* Whether the datapath has a port that it finds by that name. It looks for a port where the
     * name belongs that the port's netdev had when it was attached, and compares the name that the
     * netdev has now (net/openvswitch/vport.c): a renamed one is found by neither. */
    NetResult<bool> finds(int datapath, const std::string &name);
    /* That there is no such port is no error. */
    NetResult<void> remove(int datapath, uint32_t number);

  private:
    explicit OvsVports(GenericNetlink netlink) : netlink_(std::move(netlink)) {}
    NlMessage request(uint8_t command, int flags, int datapath) const;

    GenericNetlink netlink_;
};

}  // namespace vdpa::agent::host
