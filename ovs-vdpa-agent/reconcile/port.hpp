// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/config/port_config.hpp"
#include "ovs-vdpa-agent/host/tap.hpp"
#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "ovs-vdpa-agent/reconcile/backoff.hpp"
#include "ovs-vdpa-agent/report/view.hpp"
#include "schema/engine_rpc.hpp"

namespace vdpa::agent::reconcile {

/* A port: what is wanted and what is known to be there. Its state is not stored but found, at every
 * pass, as the first of these conditions that does not hold:
 *
 *      row wanted --no--> release: engine lets go, netdev deleted, forgotten
 *          | yes
 *      row valid, no conflict --no--> invalid; or, if it is being served, goes on with
 *          | yes                      the last good settings (config-rejected)
 *      netdev there --no--> provisioning (being made), failed, or invalid (name taken)
 *          | yes
 *      engine usable --no--> waiting
 *          | yes
 *      nobody else of ours holds the socket --no--> provisioning (the other lets go first)
 *          | yes
 *      engine has accepted the settings --no--> provisioning (being told)
 *          | yes
 *      engine serves them --no--> what the engine says: invalid, failed
 *          | yes
 *      listening or connecting --> connected --> running: what the engine says
 */
struct Port {
    Port(boost::asio::io_context &io, std::string port_name, BackoffLimits limits)
        : name(std::move(port_name)), backoff(limits), retry(io) {}

    const std::string name;

    /* From the database; none when there is no such vDPA row (any more). */
    std::optional<ovs::InterfaceRow> row;
    std::optional<config::ParsedRow> parsed;
    /* What the port is made to be: the row's settings, or the last good ones. */
    std::optional<schema::PortSpec> wanted;
    /* Has been served with `wanted` or what preceded it, so a bad row does not end it. */
    bool was_served = false;

    /* The netdev. */
    enum class Netdev { unknown, asked, present, removing, absent };
    Netdev netdev = Netdev::unknown;
    int ifindex = 0;
    /* What was last heard of the name, as an index or as none, while the netdev is asked for. */
    std::optional<std::optional<int>> heard;
    host::TapSpec netdev_spec;        // as it was asked for last
    bool was_open_in_switch = false;  // when it was asked for last
    bool multi_queue = false;         // of the netdev that is present
    std::optional<Error> netdev_error;

    /* The engine. */
    std::optional<size_t> engine;
    std::optional<schema::PortStatus> status;  // none: the engine does not have the port
    bool applying = false;                     // port.apply has not been answered
    bool removing = false;                     // port.remove is under way
    uint64_t awaited = 0;                      // generation whose outcome is awaited; 0: none
    /* The socket file that the engine had when it was last heard of; empty: none. */
    std::string socket_file;
    bool reattach = false;  // the engine may hold a netdev that was before this
    std::optional<Error> apply_error;
    /* What the engine has accepted last. Its status may say less than that: an engine of an older
     * schema passes over what it does not know. */
    std::optional<schema::PortSpec> accepted;
    uint64_t accepted_generation = 0;

    /* Why the engine or the host did not let go. */
    std::optional<Error> release_error;

    Backoff backoff;
    boost::asio::steady_timer retry;
    bool retry_armed = false;
    bool retry_due = false;  // for the next pass
    bool retrying = false;   // in this pass: what failed is tried again

    /* What is known of the port on its engine is not so any more. */
    void forget_engine_state() {
        status.reset();
        applying = removing = false;
        awaited = 0;
        apply_error.reset();
        accepted.reset();
    }

    /* Something has changed, so that what failed is tried again in the next pass and not after the
     * time that the failures before have led to. */
    void try_afresh() {
        backoff.reset();
        retry.cancel();
        retry_armed = false;
        retry_due = true;
        apply_error.reset();
        release_error.reset();
    }

    /* As last reported. */
    std::optional<report::PortView> view;
    bool reported = false;  // to the database, too

    /* Whether the engine serves the port in some way, not necessarily as wanted. */
    bool is_served() const {
        using schema::PortState;
        return status && status->served && status->state != PortState::failed &&
               status->state != PortState::removed;
    }

    /* Whether the engine has accepted what is wanted. */
    bool is_told() const {
        return status && wanted &&
               (status->spec == *wanted ||
                (accepted == wanted && status->generation == accepted_generation));
    }
};

}  // namespace vdpa::agent::reconcile
