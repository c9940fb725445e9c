// SPDX-License-Identifier: Apache-2.0
// The socket by which a test in another process has the device do things. A line is a command, its
// answer ends with an empty line:
//   calls                    what take_calls() returns, a line each
//   fail CALL COUNT RESULT, slow CALL MILLISECONDS, remove NAME, return NAME
//   moved                    moved_frames()
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "schema/support/unique_fd.hpp"
#include "tests/device/test_device.hpp"

namespace vdpa::test {

namespace {

std::string carry_out(const std::string &line) {
    std::istringstream words(line);
    std::string command;
    std::string name;
    words >> command >> name;
    std::string answer;
    if (command == "calls") {
        for (const std::string &call : take_calls()) {
            answer += call + "\n";
        }
    } else if (command == "fail") {
        unsigned count = 0;
        int result = 0;
        words >> count >> result;
        fail_call(name, count, result);
    } else if (command == "slow") {
        unsigned milliseconds = 0;
        words >> milliseconds;
        slow_call(name, milliseconds);
    } else if (command == "remove") {
        remove_device(name);
    } else if (command == "return") {
        return_device(name);
    } else if (command == "moved") {
        answer = std::to_string(moved_frames()) + "\n";
    } else {
        answer = "unknown command " + command + "\n";
    }
    return answer + "\n";
}

void serve(int fd) {
    const UniqueFd connection(fd);
    std::string buffer;
    char bytes[512];
    for (ssize_t got = 0; (got = ::read(connection.get(), bytes, sizeof(bytes))) > 0;) {
        buffer.append(bytes, static_cast<size_t>(got));
        for (size_t end = 0; (end = buffer.find('\n')) != std::string::npos;) {
            const std::string answer = carry_out(buffer.substr(0, end));
            buffer.erase(0, end + 1);
            if (::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL) < 0) {
                return;
            }
        }
    }
}

}  // namespace

void serve_control(const std::string &name) {
    static std::mutex mutex;
    static std::set<std::string> open;
    const std::lock_guard lock(mutex);
    if (!open.insert(name).second) {
        return;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // After a null byte: in the abstract namespace, which leaves no file behind (unix(7)).
    const size_t length = name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 ||
        ::bind(listener, reinterpret_cast<const sockaddr *>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length)) != 0 ||
        ::listen(listener, 4) != 0) {
        std::perror("test device: control socket");
        return;
    }
    std::thread([listener] {
        for (int fd = -1; (fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            serve(fd);
        }
    }).detach();
}

}  // namespace vdpa::test
