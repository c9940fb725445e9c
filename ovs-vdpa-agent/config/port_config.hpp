// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/config/accounts.hpp"
#include "ovs-vdpa-agent/config/host_config.hpp"
#include "ovs-vdpa-agent/host/device_request.hpp"
#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::config {

/* What an Interface row asks for. */
struct PortConfig {
    std::string name;
    /* What an engine is told. Its device is the TAP of an emulated VF; any other is filled in when
     * it has been found. */
    schema::PortSpec engine;
    /* The device to be found; none: an emulated VF. */
    std::optional<host::DeviceRequest> device;
    /* What follows is of a device only. MAC address of the function; empty: it stays as it is. */
    std::string mac;
    bool switch_sets_mac = false;  // ovs-vswitchd writes it: type=dpdk with dpdk-vf-mac
    std::optional<uint16_t> mtu;   // Interface:mtu, else mtu_request

    bool operator==(const PortConfig &) const = default;
};

/* A row, read. */
struct ParsedRow {
    std::string name;
    /* The first thing wrong with the row stands for all of them. */
    Expected<PortConfig> config;
    /* Why the owner of the socket is not known yet, and not in `config` therefore. */
    std::optional<Error> unresolved;
    /* Users and groups that the row names, or the host's default for it. */
    std::set<AccountName> accounts;
    /* What the row says that is not wrong, but that its owner has to know. */
    std::vector<Error> notices;
    /* Where, and with which VF or SF, the row's own status says it was served; breaks the tie
     * between two rows. */
    std::optional<std::string> served_socket;
    std::optional<std::string> function;
    std::optional<std::string> engine;
    /* The row's own status does not call it invalid, which it calls the loser of two. */
    bool was_valid = false;
};

/* Reads a row by itself; whether it agrees with other rows and with the host is for the reconciler.
 * Depends on nothing but its arguments. */
ParsedRow parse_row(const ovs::InterfaceRow &row, const HostConfig &host, const Accounts &accounts);

}  // namespace vdpa::agent::config
