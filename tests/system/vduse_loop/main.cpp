// SPDX-License-Identifier: Apache-2.0
/* A kernel vDPA device that returns what it is sent, played by this process:
 *
 *   vduse-loop NAME [pairs=1] [packed=1]
 *
 * It is there when "ready" is printed; `vdpa dev add name NAME mgmtdev vduse` puts it on the bus.
 * Reads commands, a line each, until its input ends:
 *
 *   link up, link down   what its configuration space says
 *   frames               prints the frames returned by each pair
 */
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "device.hpp"

namespace {

using vdpa::test::Device;
using vdpa::test::DeviceOptions;

DeviceOptions parse(int argc, char **argv) {
    DeviceOptions options;
    if (argc < 2) {
        std::fprintf(stderr, "usage: vduse-loop NAME [pairs=1] [packed=1]\n");
        std::exit(2);
    }
    options.name = argv[1];
    for (int i = 2; i < argc; ++i) {
        const std::string_view word = argv[i];
        const size_t equals = word.find('=');
        const std::string_view value = word.substr(equals + 1);
        unsigned number = 0;
        std::from_chars(value.data(), value.data() + value.size(), number);
        if (word.starts_with("pairs=") && number >= 1 && number <= 128) {
            options.pairs = static_cast<uint16_t>(number);
        } else if (word.starts_with("packed=")) {
            options.packed = number != 0;
        } else {
            std::fprintf(stderr, "vduse-loop: what is %s?\n", argv[i]);
            std::exit(2);
        }
    }
    return options;
}

void obey(Device &device, std::string_view command) {
    if (command == "link up" || command == "link down") {
        device.set_link(command == "link up");
    } else if (command == "frames") {
        for (const uint64_t frames : device.frames()) {
            std::printf("%lu ", frames);
        }
        std::printf("\n");
        std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char **argv) {
    const DeviceOptions options = parse(argc, argv);
    Device device(options);
    std::printf("ready\n");
    std::fflush(stdout);
    std::vector<pollfd> fds = {{device.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (uint16_t pair = 0; pair < options.pairs; ++pair) {
        fds.push_back({device.kick_fd(pair), POLLIN, 0});
    }
    std::string input;
    for (;;) {
        ::poll(fds.data(), fds.size(), -1);
        if ((fds[0].revents & POLLIN) != 0) {
            device.answer_request();
        }
        for (uint16_t pair = 0; pair < options.pairs; ++pair) {
            if (fds[2U + pair].revents != 0) {
                device.loop(pair);
            }
        }
        if (fds[1].revents != 0) {
            char buffer[256];
            const ssize_t size = ::read(STDIN_FILENO, buffer, sizeof(buffer));
            if (size <= 0) {
                return 0;
            }
            input.append(buffer, static_cast<size_t>(size));
            for (size_t end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
                obey(device, input.substr(0, end));
                input.erase(0, end + 1);
            }
        }
    }
}
