// SPDX-License-Identifier: Apache-2.0

/* Prints every inventory of this host that differs from the last, as a line of JSON: what a test
 * follows that drives real devices. "refresh HANDLE" and "refresh-vdpa" on the standard input are
 * carried out, and answered by {"refreshed": ...}; its end ends the program. */

#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "ovs-vdpa-agent/host/inventory_monitor.hpp"
#include "tests/unit/agent/host/describe.hpp"

namespace vdpa::agent::host {
namespace {

class Watch {
  public:
    Watch(boost::asio::io_context &io, int link_buffer, int devlink_buffer)
        : io_(io),
          links_(io, [](const std::string &) {}),
          monitor_(io, links_, {"/sys", devlink_buffer, std::chrono::seconds(2)},
                   [this](const auto &inventory) { print(*inventory); }),
          input_(io, ::dup(STDIN_FILENO)) {
        if (const auto started = links_.start(link_buffer); !started) {
            std::cerr << started.error().detail << "\n";
            std::exit(1);
        }
        monitor_.start();
        read();
    }

  private:
    void print(const Inventory &inventory) {
        count_++;
        std::cout << nlohmann::json{{"count", count_},
                                    {"inventory", describe(inventory)},
                                    {"link_overruns", links_.overruns()},
                                    {"devlink_overruns", monitor_.devlink_overruns()},
                                    {"processor_ms", std::clock() * 1000 / CLOCKS_PER_SEC}}
                  << std::endl;
    }

    void read() {
        boost::asio::async_read_until(input_, buffer_, '\n',
                                      [this](const boost::system::error_code &error, size_t) {
                                          if (error) {
                                              io_.stop();
                                              return;
                                          }
                                          std::istream stream(&buffer_);
                                          std::string command;
                                          std::getline(stream, command);
                                          carry_out(command);
                                          read();
                                      });
    }

    void carry_out(const std::string &command) {
        const auto done = [command] {
            std::cout << nlohmann::json{{"refreshed", command}} << std::endl;
        };
        const size_t space = command.find(' ');
        if (command == "refresh-vdpa") {
            monitor_.refresh_vdpa(done);
        } else if (const auto handle = parse_pf(command.substr(space + 1))) {
            monitor_.refresh(*handle, done);
        } else {
            std::cerr << handle.error().detail << "\n";
        }
    }

    boost::asio::io_context &io_;
    LinkMonitor links_;
    InventoryMonitor monitor_;
    boost::asio::posix::stream_descriptor input_;
    boost::asio::streambuf buffer_;
    unsigned count_ = 0;
};

}  // namespace
}  // namespace vdpa::agent::host

int main(int argc, char **argv) {
    boost::asio::io_context io;
    const vdpa::agent::host::Watch watch(io, argc > 1 ? std::atoi(argv[1]) : 0,
                                         argc > 2 ? std::atoi(argv[2]) : 0);
    io.run();
}
