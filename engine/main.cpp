// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdlib>
#include <exception>

#include "engine/daemon.hpp"
#include "engine/log.hpp"
#include "engine/options.hpp"

int main(int argc, char *argv[]) {
    using namespace vdpa::engine;
    const Options options = parse_command_line(argc, argv);
    std::signal(SIGPIPE, SIG_IGN);
    if (options.verbose) {
        log::set_level(log::Level::dbg);
    }
    if (!options.log_file.empty()) {
        if (const auto opened = log::open_file(options.log_file); !opened) {
            VDPA_LOG(emer, "main", "%s", opened.error().detail.c_str());
            return EXIT_FAILURE;
        }
    }
    auto listener = rpc::Listener::open(options.rpc_socket);
    if (!listener) {
        VDPA_LOG(emer, "main", "%s", listener.error().detail.c_str());
        return EXIT_FAILURE;
    }
    try {
        Daemon daemon(std::move(*listener));
        daemon.run();
    } catch (const std::exception &error) {
        // Only starting throws: no thread, no reactor.
        VDPA_LOG(emer, "main", "%s", error.what());
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
