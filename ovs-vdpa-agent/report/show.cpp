// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/show.hpp"

#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

namespace vdpa::agent::report {

namespace {

using nlohmann::json;

std::string time_text(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm utc{};
    char text[32] = "";
    if (gmtime_r(&seconds, &utc) != nullptr) {
        (void)std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    return text;
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
    if (host.reason) {
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
    line("device", port.device);
    line("engine", port.engine);
    if (port.max_queues != 0) {
        line("queues", std::to_string(port.queues) + " of " + std::to_string(port.max_queues));
        line("connections", std::to_string(port.connections));
    }
    std::string features;
    for (const std::string &feature : port.features) {
        features += (features.empty() ? "" : " ") + feature;
    }
    line("features", features);
}

json port_json(const PortView &port) {
    json out = {{"name", port.name},
                {"bridge", port.bridge},
                {"state", to_string(port.state)},
                {"detail", port.detail},
                {"device", port.device},
                {"engine", port.engine},
                {"socket", port.socket},
                {"socket_mode", port.socket_mode},
                {"queues", port.queues},
                {"max_queues", port.max_queues},
                {"connections", port.connections},
                {"features", port.features},
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
                {"ports", json::array()}};
    for (const EngineView &engine : host.engines) {
        out["engines"].push_back({{"path", engine.path},
                                  {"usable", engine.usable},
                                  {"pid", engine.pid},
                                  {"version", engine.version},
                                  {"ports", engine.ports},
                                  {"problem", engine.problem}});
    }
    for (const auto &[name, port] : ports) {
        out["ports"].push_back(port_json(*port));
    }
    out["reason"] = host.reason ? json(to_string(*host.reason)) : json(nullptr);
    out["detail"] = host.detail;
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string stats_text(const schema::PortStats &stats) {
    std::ostringstream out;
    for (const auto &queue : stats.queues) {
        // The control queue comes behind the last pair.
        const bool is_control = stats.queues.size() % 2 == 1 && &queue == &stats.queues.back();
        out << "ring " << queue.index;
        if (is_control) {
            out << " (control):";
        } else {
            out << " (" << (queue.index % 2 == 0 ? "rx" : "tx") << " of pair " << queue.index / 2
                << "):";
        }
        for (const auto &[name, value] : queue.counters) {
            out << " " << name << "=" << value;
        }
        out << (queue.counters.empty() ? " no counters\n" : "\n");
    }
    return out.str();
}

}  // namespace vdpa::agent::report
