// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <set>
#include <string>

#include "ovs-vdpa-agent/config/port_config.hpp"
#include "ovs-vdpa-agent/host/tap.hpp"
#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "ovs-vdpa-agent/reconcile/backoff.hpp"
#include "ovs-vdpa-agent/reconcile/plan.hpp"
#include "ovs-vdpa-agent/report/view.hpp"
#include "schema/engine_rpc.hpp"

namespace vdpa::agent::reconcile {

/* Something of the host that is made, or changed, for a port. */
struct Asset {
    enum class State { absent, unknown, asked, present, removing };
    State state = State::absent;
    std::optional<Error> error;  // why it could not be made

    bool is_absent() const { return state == State::absent; }
    bool is_present() const { return state == State::present; }
    /* It has been asked for, or to be removed, and there is no answer yet. */
    bool is_busy() const { return state == State::asked || state == State::removing; }
};

/* The TAP netdev of an emulated VF. */
struct TapAsset : Asset {
    int ifindex = 0;
    /* What was last heard of the name, as an index or as none, while the netdev is asked for. */
    std::optional<std::optional<int>> heard;
    host::TapSpec spec;               // as it was asked for last
    bool was_open_in_switch = false;  // when it was asked for last
    bool multi_queue = false;         // of the netdev that is present
    /* Until when the socket, if it is served ahead, is waited for before the netdev is made. */
    std::chrono::steady_clock::time_point patient_until{};
};

/* The representor, with what is set of the function behind it. */
struct RepresentorAsset : Asset {
    std::optional<host::FunctionId> function;    // that it stands for; none: not known
    std::set<host::Handle> pfs;                  // whose function that is, as far as known
    std::optional<host::DeviceRequest> request;  // that led to it
    host::RepresentorSpec spec;                  // as it was asked for last
    /* It has been made as asked for once, so that what a further asking is about changes little
     * and need not be waited for. */
    bool was_made = false;
    /* What was observed when it was asked for. What is observed later is news only if it differs
     * from that, for the inventory tells of our own acts, too, and after the answer. None: it has
     * been observed as it was asked for. */
    std::optional<Observed> asked_at;
    bool is_refreshed = false;  // the inventory has been read anew since
};

/* The kernel vDPA device that is made for the port. */
struct VdpaAsset : Asset {
    host::VdpaSpec spec;    // as it was asked for last
    std::string path;       // of the character device, while it is present
    bool observed = false;  // the inventory has it, so that it is gone when that has it no more
    std::vector<std::string> notes;
    /* Until when the MTU is waited for before it is made. */
    std::optional<std::chrono::steady_clock::time_point> patient_until;
};

/* A port: what is wanted and what is known to be there. Its state is not stored but found, at every
 * pass, as the first of these conditions (report::Condition) that does not hold:
 *
 *      row wanted --no--> release: engine lets go, vDPA device removed, representor given back or
 *          | yes          TAP deleted, forgotten
 *      row valid, no conflict --no--> invalid; or, if it is being served, goes on with
 *          | yes                      the last good settings (config-rejected)
 *      owner of the socket known --no--> waiting, with what it has on the host left as it is; or,
 *          | yes                         if it is being served, goes on as before
 *      PF in switchdev mode --no--> waiting, or what becomes of the PF's preparation
 *          | yes
 *      VF or SF there --no--> waiting; the engine lets go of a device that has vanished
 *          | yes
 *      nothing held that belongs to what was wanted before --no--> provisioning (it is let go of,
 *          | yes                                                   in the order of a release)
 *      nobody else of ours holds function and device --no--> provisioning (the other lets go first)
 *          | yes
 *      netdev there --no--> provisioning (being made or renamed), failed, waiting, or invalid
 *          | yes            (name taken); a new emulated VF's socket is served meanwhile
 *      device can serve --no--> waiting (driver, netdev in use), provisioning (being made), failed
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
    /* Until when the owner of its socket is awaited in silence; none: it is known. */
    std::optional<std::chrono::steady_clock::time_point> owner_due;
    /* What the device that the row asks for comes to now; none: it asks for none, or nothing is
     * known of the host yet. */
    std::optional<Expected<Plan>> candidate;

    /* What the port is made to be: the row's settings, or the last good ones. */
    std::optional<config::PortConfig> wanted;
    /* `wanted` is what an engine was found to serve: the row has not been good since this agent
     * began. Then the engine's part is all that is known of it, and the host is left alone. */
    bool is_adopted = false;
    std::set<std::string> wanted_things;
    std::optional<Plan> plan;         // of `wanted`
    std::optional<Error> plan_error;  // why there is none, although `wanted` has a device
    /* What the engine is to be told; none while the device is not known. */
    std::optional<schema::PortSpec> spec;
    /* Has been served with `wanted` or what preceded it, so a bad row does not end it. */
    bool was_served = false;

    TapAsset tap;
    RepresentorAsset representor;
    VdpaAsset vdpa;

    /* The engine. */
    std::optional<size_t> engine;
    std::optional<schema::PortStatus> status;  // none: the engine does not have the port
    bool applying = false;                     // port.apply has not been answered
    bool removing = false;                     // port.remove is under way
    uint64_t awaited = 0;                      // generation whose outcome is awaited; 0: none
    /* The socket file that the engine had when it was last heard of; empty: none. */
    std::string socket_file;
    /* The engine may have a netdev open that was before this, unless it has none. */
    bool reattach = false;
    std::optional<Error> apply_error;
    /* What the engine was told last; none: not by this agent. */
    std::optional<schema::PortSpec> told;
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

    /* As last reported. */
    std::optional<report::PortView> view;
    bool reported = false;  // to the database, too

    /* What is known of the port on its engine is not so any more. */
    void forget_engine_state() {
        status.reset();
        applying = removing = false;
        awaited = 0;
        apply_error.reset();
        told.reset();
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

    /* Whether the engine serves the port in some way, not necessarily as wanted. */
    bool is_served() const {
        using schema::PortState;
        return status && status->served && status->state != PortState::failed &&
               status->state != PortState::removed;
    }

    /* Whether the engine has accepted what it is to be told. */
    bool is_told() const {
        return status && spec &&
               (status->spec == *spec ||
                (accepted == spec && status->generation == accepted_generation));
    }

    /* The device that the engine has open or may be opening; none: none. */
    std::optional<schema::DeviceSpec> engine_device() const {
        if (status) {
            return status->spec.device;
        }
        return told ? std::optional(told->device) : std::nullopt;
    }

    /* The engine has been told something of which the outcome is not known yet. */
    bool is_being_told() const { return applying || awaited != 0; }

    /* The engine serves the socket ahead of the netdev, which it has not been told to open. */
    bool is_ahead_of_netdev() const {
        return told ? told->netdev_awaited : status && status->spec.netdev_awaited;
    }

    /* The engine serves the socket and does not have the netdev. */
    bool lacks_netdev() const { return is_served() && status->served->netdev_awaited; }

    /* An emulated VF is wanted, or the TAP of one that an earlier agent made goes on. */
    bool wants_tap() const {
        return wanted && !wanted->device && wanted->engine.device.kind == schema::DeviceKind::tap;
    }
};

}  // namespace vdpa::agent::reconcile
