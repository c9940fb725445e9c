// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/status.hpp"

#include <algorithm>

namespace vdpa::agent::report {

namespace {

namespace key = schema::key;

std::optional<std::string> unless_empty(const std::string &text) {
    return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> reason_text(const std::optional<schema::Reason> &reason) {
    return reason ? std::optional<std::string>(to_string(*reason)) : std::nullopt;
}

}  // namespace

ovs::StatusUpdate port_status(const PortView &view) {
    ovs::StatusUpdate update = no_port_status(view.name);
    update.keys[key::vdpa_state] = to_string(view.state);
    update.keys[key::vdpa_reason] = reason_text(view.reason);
    update.keys[key::vdpa_detail] = unless_empty(view.detail);
    update.keys[key::vdpa_served_socket] = view.served_socket;
    update.keys[key::vdpa_engine] = unless_empty(view.engine);
    // A function may be the port's although nothing can serve its queues.
    update.keys[key::vdpa_function] = unless_empty(view.function);
    if (view.state != schema::State::invalid) {
        update.keys[key::vdpa_mode] = unless_empty(view.mode);
        update.keys[key::vdpa_device] = unless_empty(view.device);
        update.keys[key::vdpa_queues] =
            std::to_string(view.queues) + "/" + std::to_string(view.max_queues);
    }
    return update;
}

ovs::StatusUpdate no_port_status(const std::string &interface) {
    ovs::StatusUpdate update;
    update.interface = interface;
    for (const char *name : schema::interface_status_keys) {
        update.keys[name] = std::nullopt;
    }
    return update;
}

ovs::StatusUpdate host_status(const HostView &view) {
    const bool usable = std::any_of(view.engines.begin(), view.engines.end(),
                                    [](const EngineView &engine) { return engine.usable; });
    ovs::StatusUpdate update;
    update.keys[key::vdpa_agent_state] = usable ? "running" : "no-engine";
    update.keys[key::vdpa_host_reason] = reason_text(view.reason);
    update.keys[key::vdpa_host_detail] = unless_empty(view.detail);
    return update;
}

}  // namespace vdpa::agent::report
