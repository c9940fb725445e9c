// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/commands.hpp"

#include <algorithm>

#include "ovs-vdpa-agent/report/devices.hpp"
#include "ovs-vdpa-agent/report/explain.hpp"
#include "ovs-vdpa-agent/report/show.hpp"
#include "ovs-vdpa-agent/report/stats.hpp"

namespace vdpa::agent {

namespace {

using ovs::Command;
using report::Board;

/* Arguments without the option, which is taken out. */
bool take_option(std::vector<std::string> &args, const char *option) {
    return std::erase(args, option) > 0;
}

/* An option that nobody knows must not pass for an Interface's name. */
bool has_at_most(const Command &command, const std::vector<std::string> &args, size_t most) {
    for (const std::string &arg : args) {
        if (arg.starts_with("--")) {
            command.reply(false, arg + ": is no option of this command");
            return false;
        }
    }
    if (args.size() > most) {
        command.reply(false, most == 0
                                 ? args[0] + ": is one argument too many; this command takes none"
                                 : "name at most one Interface");
        return false;
    }
    return true;
}

std::shared_ptr<const report::PortView> find(const Board &board, const Command &command,
                                             const std::string &name) {
    auto port = board.port(name);
    if (!port) {
        command.reply(false, name + ": there is no such vDPA port; is options:vdpa-socket set?");
    }
    return port;
}

/* vdpa/show [--json] [IFACE] */
void show(const Board &board, const Command &command) {
    std::vector<std::string> args = command.args;
    const bool json = take_option(args, "--json");
    if (!has_at_most(command, args, 1)) {
        return;
    }
    Board::Ports ports;
    if (args.empty()) {
        ports = board.ports();
    } else if (auto port = find(board, command, args[0])) {
        ports[args[0]] = std::move(port);
    } else {
        return;
    }
    const report::HostView host = board.host();
    command.reply(
        true, json ? report::show_json(host, ports) : report::show_text(host, ports, args.empty()));
}

/* vdpa/explain [--json] IFACE */
void explain(const Board &board, const Command &command) {
    std::vector<std::string> args = command.args;
    const bool json = take_option(args, "--json");
    if (!has_at_most(command, args, 1)) {
        return;
    }
    if (args.empty()) {
        command.reply(false, "name an Interface");
    } else if (const auto port = find(board, command, args[0])) {
        command.reply(true, json ? report::explain_json(*port) : report::explain_text(*port));
    }
}

/* vdpa/devices [--json] */
void devices(const Board &board, const Command &command) {
    std::vector<std::string> args = command.args;
    const bool json = take_option(args, "--json");
    if (!has_at_most(command, args, 0)) {
        return;
    }
    const auto inventory = board.inventory();
    if (!inventory) {
        command.reply(false, "the host has not been looked at yet: try again");
        return;
    }
    const report::HostView host = board.host();
    command.reply(true, json ? report::devices_json(*inventory, host, board.ports())
                             : report::devices_text(*inventory, host, board.ports()));
}

/* vdpa/stats [--json] [--reset] IFACE */
void stats(ControlThread &control, const Command &command) {
    std::vector<std::string> args = command.args;
    const bool json = take_option(args, "--json");
    const bool reset = take_option(args, "--reset");
    if (!has_at_most(command, args, 1)) {
        return;
    }
    if (args.empty()) {
        command.reply(false, "name an Interface");
        return;
    }
    control.stats(
        args[0], reset, [reply = command.reply, json](const Expected<report::StatsView> &result) {
            if (!result) {
                reply(false, result.error().detail);
            } else {
                reply(true, json ? report::stats_json(*result) : report::stats_text(*result));
            }
        });
}

}  // namespace

void register_commands(ovs::OvsThread &ovs_thread, const std::unique_ptr<ControlThread> &control) {
    using OfBoard = void (*)(const Board &, const Command &);
    const auto add = [&ovs_thread, &control](const char *name, const char *usage, int min, int max,
                                             OfBoard answer) {
        ovs_thread.register_command(
            name, usage, min, max,
            [&control, answer](const Command &command) { answer(control->board(), command); });
    };
    add("vdpa/show", "[--json] [IFACE]", 0, 2, show);
    add("vdpa/explain", "[--json] IFACE", 1, 2, explain);
    add("vdpa/devices", "[--json]", 0, 1, devices);
    ovs_thread.register_command("vdpa/stats", "[--json] [--reset] IFACE", 1, 3,
                                [&control](const Command &command) { stats(*control, command); });
}

}  // namespace vdpa::agent
