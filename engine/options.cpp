// SPDX-License-Identifier: Apache-2.0
#include "engine/options.hpp"

#include <getopt.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace vdpa::engine {

namespace {

constexpr const char *usage =
    "ovs-vdpa-engine: serves vhost-user sockets for ovs-vdpa-agent\n"
    "usage: ovs-vdpa-engine [OPTIONS]\n"
    "\n"
    "It runs in the foreground, starts without any port, and does what it is told at its RPC\n"
    "socket.\n"
    "\n"
    "  --rpc-socket=PATH   serve JSON-RPC at PATH\n"
    "                      (default: /run/ovs-vdpa-engine/rpc.sock)\n"
    "  --log-file=PATH     append the log to PATH, opened again at SIGHUP (default: stderr)\n"
    "  -v, --verbose       log each vhost-user message as well\n"
    "  -h, --help          print this and exit\n"
    "  -V, --version       print the version and exit\n";

}  // namespace

Options parse_command_line(int argc, char *argv[]) {
    enum Long { rpc_socket = 256, log_file };
    const std::array<option, 6> long_options = {{
        {"rpc-socket", required_argument, nullptr, rpc_socket},
        {"log-file", required_argument, nullptr, log_file},
        {"verbose", no_argument, nullptr, 'v'},
        {"help", no_argument, nullptr, 'h'},
        {"version", no_argument, nullptr, 'V'},
        {nullptr, 0, nullptr, 0},
    }};
    Options options;
    for (;;) {
        switch (getopt_long(argc, argv, "vhV", long_options.data(), nullptr)) {
            case -1:
                if (optind < argc) {
                    std::fprintf(stderr, "ovs-vdpa-engine: %s: takes no arguments; see --help\n",
                                 argv[optind]);
                    std::exit(EXIT_FAILURE);
                }
                return options;
            case rpc_socket:
                options.rpc_socket = optarg;
                break;
            case log_file:
                options.log_file = optarg;
                break;
            case 'v':
                options.verbose = true;
                break;
            case 'h':
                std::fputs(usage, stdout);
                std::exit(EXIT_SUCCESS);
            case 'V':
                std::printf("ovs-vdpa-engine (Open vSwitch vDPA) %s\n", OVDA_VERSION);
                std::exit(EXIT_SUCCESS);
            default:
                std::fputs("see ovs-vdpa-engine --help\n", stderr);
                std::exit(EXIT_FAILURE);
        }
    }
}

}  // namespace vdpa::engine
