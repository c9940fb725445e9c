// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/show.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ovs-vdpa-agent/report/text.hpp"

namespace vdpa::agent::report {

namespace {

using nlohmann::json;

void show_pf(std::ostream &out, const PfView &pf) {
    out << "PF " << pf.handle.label() << ": ";
    if (pf.num_vfs) {
        out << *pf.num_vfs << (*pf.num_vfs == 1 ? " VF" : " VFs") << " asked for, ";
    }
    if (pf.reason) {
        out << to_string(*pf.reason) << ": " << pf.detail;
    } else {
        out << "prepared";
    }
    out << "\n";
}

std::string joined(const std::vector<std::string> &words) {
    std::string text;
    for (const std::string &word : words) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

/* Whether the line of a PF has said already what is wrong with the host. */
bool is_told_above(const HostView &host) {
    return std::ranges::any_of(host.pfs, [&host](const PfView &pf) {
        return pf.reason == host.reason && pf.detail == host.detail;
    });
}

void show_host(std::ostream &out, const HostView &host) {
    out << connection_text(host) << "\n";
    for (const EngineView &engine : host.engines) {
        out << "engine " << engine.path << ": ";
        if (engine.usable) {
            out << "pid " << engine.pid << ", version " << engine.version << ", " << engine.ports
                << (engine.ports == 1 ? " port" : " ports");
        } else {
            out << "not usable";
        }
        out << (engine.problem.empty() ? "" : " (" + engine.problem + ")") << "\n";
    }
    for (const PfView &pf : host.pfs) {
        show_pf(out, pf);
    }
    if (host.reason && !is_told_above(host)) {
        out << to_string(*host.reason) << ": " << host.detail << "\n";
    }
}

void show_port(std::ostream &out, const PortView &port) {
    out << "\n" << port.name << ": " << to_string(port.state);
    if (port.reason) {
        out << " (" << to_string(*port.reason) << ")";
    }
    out << ", since " << time_text(port.since) << "\n";
    const auto line = [&out](const char *label, const std::string &text) {
        if (!text.empty()) {
            out << "    " << label << ": " << text << "\n";
        }
    };
    line("detail", port.detail);
    line("bridge", port.bridge);
    line("socket", port.socket + (port.socket_mode.empty() ? "" : " (" + port.socket_mode + ")"));
    line("mode", port.mode);
    line("device", port.device);
    line("function", port.function);
    line("engine", port.engine);
    if (port.max_queues != 0) {
        line("queue pairs", std::to_string(port.queues) + " of " + std::to_string(port.max_queues));
        line("connections", std::to_string(port.connections));
    }
    line("features", joined(port.features));
    line("offered", joined(port.offered));
    line("withheld", joined(port.withheld));
    if (port.device_queues != 0) {
        line("queue pairs of the device", std::to_string(port.device_queues));
    }
    line("doorbell", port.doorbell);
    line("MAC address of the device", port.device_mac);
    if (port.device_mtu != 0) {
        line("MTU of the device", std::to_string(port.device_mtu));
    }
    if (port.stall_ms != 0) {
        line("longest stall of other ports", std::to_string(port.stall_ms) + " ms");
    }
}

json port_json(const PortView &port) {
    json out = {{"name", port.name},
                {"bridge", port.bridge},
                {"state", to_string(port.state)},
                {"detail", port.detail},
                {"mode", port.mode},
                {"device", port.device},
                {"function", port.function},
                {"engine", port.engine},
                {"socket", port.socket},
                {"socket_mode", port.socket_mode},
                {"queues", port.queues},
                {"max_queues", port.max_queues},
                {"connections", port.connections},
                {"features", port.features},
                {"offered", port.offered},
                {"withheld", port.withheld},
                {"device_queues", port.device_queues},
                {"doorbell", port.doorbell},
                {"device_mac", port.device_mac},
                {"device_mtu", port.device_mtu},
                {"stall_ms", port.stall_ms},
                {"since", time_text(port.since)}};
    out["reason"] = port.reason ? json(to_string(*port.reason)) : json(nullptr);
    out["served_socket"] = port.served_socket ? json(*port.served_socket) : json(nullptr);
    return out;
}

}  // namespace

std::string connection_text(const HostView &host) {
    const auto &database = host.database;
    std::string text = database.remote + ": ";
    if (!database.connected) {
        text += "not connected";
    } else if (database.lock_contended) {
        text += "connected, waiting for the lock, which another ovs-vdpa-agent holds";
    } else if (!database.lock_held) {
        text += "connected, asking for the lock";
    } else {
        text += "connected";
    }
    if (!host.has_snapshot) {
        text += "; nothing read yet";
    }
    return text;
}

std::string show_text(const HostView &host, const Board::Ports &ports, bool whole) {
    std::ostringstream out;
    if (whole) {
        show_host(out, host);
    }
    for (const auto &[name, port] : ports) {
        show_port(out, *port);
    }
    std::string text = out.str();
    return !whole && text.starts_with('\n') ? text.substr(1) : text;
}

std::string show_json(const HostView &host, const Board::Ports &ports) {
    json out = {{"database",
                 {{"remote", host.database.remote},
                  {"connected", host.database.connected},
                  {"lock_held", host.database.lock_held}}},
                {"engines", json::array()},
                {"pfs", json::array()},
                {"ports", json::array()}};
    for (const EngineView &engine : host.engines) {
        out["engines"].push_back({{"path", engine.path},
                                  {"usable", engine.usable},
                                  {"pid", engine.pid},
                                  {"version", engine.version},
                                  {"ports", engine.ports},
                                  {"problem", engine.problem}});
    }
    for (const PfView &pf : host.pfs) {
        out["pfs"].push_back({{"pf", pf.handle.label()},
                              {"num_vfs", pf.num_vfs ? json(*pf.num_vfs) : json(nullptr)},
                              {"reason", pf.reason ? json(to_string(*pf.reason)) : json(nullptr)},
                              {"detail", pf.detail},
                              {"since", time_text(pf.since)}});
    }
    for (const auto &[name, port] : ports) {
        out["ports"].push_back(port_json(*port));
    }
    out["reason"] = host.reason ? json(to_string(*host.reason)) : json(nullptr);
    out["detail"] = host.detail;
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace vdpa::agent::report
