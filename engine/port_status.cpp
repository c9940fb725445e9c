// SPDX-License-Identifier: Apache-2.0
#include "engine/port_status.hpp"

#include "engine/vhost/feature_names.hpp"

namespace vdpa::engine {

namespace {

using schema::PortState;

PortState state_of(const Outcome &outcome, const vhost::Live &live) {
    if (!outcome.served) {
        return PortState::failed;
    }
    if (live.connected) {
        return live.queues > 0 ? PortState::running : PortState::connected;
    }
    return outcome.served->socket.mode == schema::SocketMode::server ? PortState::listening
                                                                     : PortState::connecting;
}

void set_reason(schema::PortStatus &status, const Error &error) {
    status.reason = schema::to_string(error.reason);
    status.detail = error.detail;
}

/* "max-queues 4 (now 2), packed off (now on)" */
std::string describe_difference(const schema::PortSpec &wanted, const vhost::Offer &offer) {
    const auto flag = [](bool on) { return on ? "on" : "off"; };
    std::string text;
    const auto add = [&text](const std::string &name, const std::string &to,
                             const std::string &from) {
        text += (text.empty() ? "" : ", ") + name + " " + to + " (now " + from + ")";
    };
    if (wanted.max_queues != offer.max_queues) {
        add("queue pairs", std::to_string(wanted.max_queues), std::to_string(offer.max_queues));
    }
    if (wanted.packed != offer.packed) {
        add("packed rings", flag(wanted.packed), flag(offer.packed));
    }
    if (wanted.offloads != offer.offloads) {
        add("offloads", flag(wanted.offloads), flag(offer.offloads));
    }
    return text;
}

void describe_datapath(schema::PortStatus &status, const vhost::DatapathStatus &datapath) {
    status.offered = vhost::feature_names(datapath.offered);
    status.withheld = vhost::feature_names(datapath.withheld);
    status.device_queues = datapath.device_queues;
    if (!datapath.doorbell.empty()) {
        status.doorbell = datapath.doorbell;
    }
    if (!datapath.mac.empty()) {
        status.device_mac = datapath.mac;
    }
    status.device_mtu = datapath.mtu;
    status.stall_ms = datapath.stall_ms;
}

}  // namespace

schema::PortStatus derive_status(const schema::PortSpec &spec,
                                 const std::optional<Outcome> &outcome, const vhost::Live &live) {
    schema::PortStatus status;
    status.name = spec.name;
    status.spec = spec;
    status.state = PortState::pending;
    if (!outcome) {
        return status;
    }
    status.generation = outcome->generation;
    status.state = state_of(*outcome, live);
    status.connections = live.connections;
    if (!outcome->served) {
        set_reason(status, outcome->error.value_or(
                               Error{schema::Reason::socket_failed, "the port is not served"}));
        return status;
    }
    status.served = outcome->served;
    status.served->max_queues = live.offer.max_queues;
    status.served->packed = live.offer.packed;
    status.served->offloads = live.offer.offloads;
    status.queues = live.queues;
    status.features = vhost::feature_names(live.features);
    describe_datapath(status, live.datapath);
    if (outcome->error) {
        set_reason(status, *outcome->error);
    } else if (live.fault) {
        set_reason(status, *live.fault);
    } else if (live.datapath.fault) {
        set_reason(status, *live.datapath.fault);
    } else if (const std::string waits = describe_difference(*outcome->served, live.offer);
               !waits.empty()) {
        set_reason(status, {schema::Reason::reconnect_pending,
                            "the front-end of " + spec.name +
                                " keeps what it was offered when it connected; with its next "
                                "connection comes: " +
                                waits});
    } else if (live.datapath.notice) {
        set_reason(status, *live.datapath.notice);
    }
    return status;
}

}  // namespace vdpa::engine
