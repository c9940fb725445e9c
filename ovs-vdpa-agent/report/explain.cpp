// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/explain.hpp"

#include <nlohmann/json.hpp>
#include <sstream>

#include "ovs-vdpa-agent/report/text.hpp"

namespace vdpa::agent::report {

namespace {

using nlohmann::json;

/* Names for programs. */
constexpr const char *names[n_conditions] = {"config",    "pf",     "function", "netdev",
                                             "device",    "engine", "opened",   "socket",
                                             "front-end", "running"};

bool is_emulated(const PortView &port) {
    return (port.is_emulated || port.mode == "sw") && port.function.empty();
}

/* What an emulated VF has no use for holds of itself. */
bool concerns(const PortView &port, Condition condition) {
    return !is_emulated(port) || (condition != Condition::pf && condition != Condition::function &&
                                  condition != Condition::device);
}

std::string sentence(const PortView &port, Condition condition) {
    const std::string function = port.function.empty() ? "the VF or SF" : port.function;
    switch (condition) {
        case Condition::config:
            return "the row can be served, and no other row is in its way";
        case Condition::pf:
            return "the PF is there, its eswitch in switchdev mode";
        case Condition::function:
            return function + " is there";
        case Condition::netdev:
            return is_emulated(port)
                       ? "TAP netdev " + port.name + " is there"
                       : "the representor of " + function +
                             " has the port's name and is up, MAC address and MTU are set";
        case Condition::device:
            return "the device can serve queues" + (port.device.empty() ? "" : ": " + port.device);
        case Condition::engine:
            return "an engine can be used" + (port.engine.empty() ? "" : ": " + port.engine);
        case Condition::opened:
            return "the engine has taken over the settings and opened the device";
        case Condition::socket:
            return (port.socket_mode == "client" ? "the engine connects to the front-end's socket"
                                                 : "the socket is served") +
                   (port.socket.empty() ? "" : ": " + port.socket);
        case Condition::front_end:
            return "a front-end is connected";
        case Condition::running:
            break;
    }
    return "the guest's queues are served";
}

/* Whether all that can be done here is done, so that what is said names nothing that is missing. */
bool is_for_information(const PortView &port) {
    using schema::State;
    return port.state == State::listening || port.state == State::connecting ||
           port.state == State::connected || port.state == State::running;
}

const char *answer(const ConditionView &condition) {
    if (!condition.holds) {
        return "?  ";
    }
    return *condition.holds ? "yes" : "no ";
}

}  // namespace

std::string explain_text(const PortView &port) {
    std::ostringstream out;
    out << port.name << ": " << to_string(port.state);
    if (port.reason) {
        out << " (" << to_string(*port.reason) << ")";
    }
    out << ", since " << time_text(port.since) << "\n";
    bool is_told = false;
    for (size_t i = 0; i < n_conditions; i++) {
        const auto condition = static_cast<Condition>(i);
        const ConditionView &view = port.conditions[i];
        if (!concerns(port, condition)) {
            continue;
        }
        out << "    " << answer(view) << "  " << sentence(port, condition);
        if (view.holds) {
            out << ", since " << time_text(view.since);
        }
        out << "\n";
        // The first that does not hold is what the port's reason is about, unless that is only
        // the guest's turn.
        if (view.holds == false && !is_told && !is_for_information(port)) {
            is_told = true;
            if (!port.detail.empty()) {
                out << "         " << port.detail << "\n";
            }
        }
    }
    if (!is_told && !port.detail.empty()) {
        out << "    note: " << port.detail << "\n";
    }
    return out.str();
}

std::string explain_json(const PortView &port) {
    json out = {{"name", port.name},
                {"state", to_string(port.state)},
                {"reason", port.reason ? json(to_string(*port.reason)) : json(nullptr)},
                {"detail", port.detail},
                {"conditions", json::array()}};
    for (size_t i = 0; i < n_conditions; i++) {
        const ConditionView &view = port.conditions[i];
        if (concerns(port, static_cast<Condition>(i))) {
            out["conditions"].push_back({{"condition", names[i]},
                                         {"holds", view.holds ? json(*view.holds) : json(nullptr)},
                                         {"since", time_text(view.since)}});
        }
    }
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace vdpa::agent::report
