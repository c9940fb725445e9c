// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace vdpa::agent::ovs {

struct AgentOptions {
    std::string database;             /* OVSDB remote; default unix:<rundir>/db.sock. */
    std::vector<std::string> engines; /* RPC sockets, at least one, absolute. */
    std::string unixctl_path;         /* --unixctl; empty: OVS's default. */
};

/* Reads the command line the way OVS's daemons do, with OVS's own options for the log, the
 * daemonizing, SSL and unixctl. Prints and exits for --help, --version and anything wrong. To be
 * called first in main(), before any thread exists. */
AgentOptions parse_command_line(int argc, char *argv[]);

/* Goes into the background if --detach asked for it and writes the pid file. Before any thread
 * exists. From here on SIGTERM and SIGINT end OvsThread::run(). */
void daemonize_start();

/* $OVS_RUNDIR, or the folder compiled in: /var/run/openvswitch. */
std::string run_dir();

}  // namespace vdpa::agent::ovs
