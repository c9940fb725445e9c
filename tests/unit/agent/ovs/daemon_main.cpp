// SPDX-License-Identifier: Apache-2.0
//
// The smallest daemon on top of the OVS thread: it is ready as soon as the database was handed
// over.

#include "ovs-vdpa-agent/ovs/command_line.hpp"
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"

int main(int argc, char *argv[]) {
    using namespace vdpa::agent;

    const ovs::AgentOptions options = ovs::parse_command_line(argc, argv);
    ovs::daemonize_start();
    ovs::OvsThread *running = nullptr;
    ovs::OvsThread thread(
        {options.database, options.unixctl_path},
        {.on_changes = [&running](const ovs::Changes &) { running->startup_complete(); },
         .on_connection = nullptr,
         .on_resync = nullptr,
         .on_exit = nullptr});
    running = &thread;
    return thread.run();
}
