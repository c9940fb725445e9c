// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vdpa::engine {

struct Options {
    std::string rpc_socket = "/run/ovs-vdpa-engine/rpc.sock";
    std::string log_file;  // empty: stderr
    bool verbose = false;
};

/* Reads the command line. Prints and ends the process for --help, --version and mistakes. */
Options parse_command_line(int argc, char *argv[]);

}  // namespace vdpa::engine
