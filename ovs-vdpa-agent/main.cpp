// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/commands.hpp"
#include "ovs-vdpa-agent/control_thread.hpp"
#include "ovs-vdpa-agent/ovs/command_line.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"

namespace {

using namespace vdpa;
using namespace vdpa::agent;

const agent::log::Module module("main");

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

    auto started = ControlThread::start(
        {options.engines, ovs::run_dir() + "/ovs-vdpa-agent"},
        {[&ovs_thread](std::vector<ovs::StatusUpdate> updates) {
             ovs_thread.set_status(std::move(updates));
         },
         [&ovs_thread](const std::string &name, std::function<void(bool)> done) {
             ovs_thread.has_interface(name, std::move(done));
         },
         [&ovs_thread] { ovs_thread.startup_complete(); }});
    if (!started) {
        module.error(started.error().detail);
        return 1;
    }
    control = std::move(*started);

    register_commands(ovs_thread, control);
    const int status = ovs_thread.run();
    control.reset();
    return status;
}
