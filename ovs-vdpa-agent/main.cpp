// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "ovs-vdpa-agent/control_thread.hpp"
#include "ovs-vdpa-agent/ovs/command_line.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"
#include "ovs-vdpa-agent/report/show.hpp"

namespace {

using namespace vdpa;
using namespace vdpa::agent;

const agent::log::Module module("main");

/* vdpa/show [--json] [IFACE] */
void show(const report::Board &board, const ovs::Command &command) {
    std::vector<std::string> args = command.args;
    const bool json = std::erase(args, "--json") > 0;
    if (args.size() > 1) {
        command.reply(false, "name at most one Interface");
        return;
    }
    report::Board::Ports ports;
    if (args.empty()) {
        ports = board.ports();
    } else if (auto port = board.port(args[0])) {
        ports[args[0]] = std::move(port);
    } else {
        command.reply(false, args[0] + ": there is no such vDPA port; is options:vdpa-socket set?");
        return;
    }
    const report::HostView host = board.host();
    command.reply(
        true, json ? report::show_json(host, ports) : report::show_text(host, ports, args.empty()));
}

/* vdpa/stats IFACE */
void stats(ControlThread &control, const ovs::Command &command) {
    control.stats(command.args[0], [reply = command.reply](Expected<schema::PortStats> result) {
        if (result) {
            reply(true, report::stats_text(*result));
        } else {
            reply(false, result.error().detail);
        }
    });
}

}  // namespace

int main(int argc, char *argv[]) {
    const ovs::AgentOptions options = ovs::parse_command_line(argc, argv);
    ovs::daemonize_start();  // before any thread exists

    std::unique_ptr<ControlThread> control;
    ovs::OvsThread::Callbacks callbacks;
    callbacks.on_changes = [&control](ovs::Changes changes) {
        control->database_changed(std::move(changes));
    };
    callbacks.on_connection = [&control](ovs::ConnectionState state) {
        control->connection_changed(std::move(state));
    };
    callbacks.on_resync = [&control] { control->resync(); };
    ovs::OvsThread ovs_thread({options.database, options.unixctl_path}, std::move(callbacks));

    auto started = ControlThread::start({options.engines, ovs::run_dir() + "/ovs-vdpa-agent"},
                                        {[&ovs_thread](std::vector<ovs::StatusUpdate> updates) {
                                             ovs_thread.set_status(std::move(updates));
                                         },
                                         [&ovs_thread] { ovs_thread.startup_complete(); }});
    if (!started) {
        module.error(started.error().detail);
        return 1;
    }
    control = std::move(*started);

    ovs_thread.register_command(
        "vdpa/show", "[--json] [IFACE]", 0, 2,
        [&control](const ovs::Command &command) { show(control->board(), command); });
    ovs_thread.register_command(
        "vdpa/stats", "IFACE", 1, 1,
        [&control](const ovs::Command &command) { stats(*control, command); });
    const int status = ovs_thread.run();
    control.reset();
    return status;
}
