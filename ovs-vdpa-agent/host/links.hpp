// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>

#include "ovs-vdpa-agent/host/rtnl.hpp"

namespace vdpa::agent::host {

/* All netdevs of the network namespace, as rtnetlink has them. */
struct Links {
    std::map<int, Link> by_index;
    std::set<LinkAddress> addresses;  // without those that every netdev has
    /* MAC addresses of VFs by number, of those PF netdevs of which they were asked for. */
    std::map<int, std::map<uint32_t, std::string>> vf_macs;

    const Link *find(int ifindex) const {
        const auto found = by_index.find(ifindex);
        return found == by_index.end() ? nullptr : &found->second;
    }
    bool has_address(int ifindex) const {
        const auto found = addresses.lower_bound(LinkAddress{ifindex, 0, 0, {}});
        return found != addresses.end() && found->ifindex == ifindex;
    }
};

}  // namespace vdpa::agent::host
