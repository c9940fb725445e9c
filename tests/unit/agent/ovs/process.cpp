// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/ovs/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace vdpa::test {
namespace {

constexpr int read_timeout_ms = 20'000;

}  // namespace

Process::Process(const std::vector<std::string> &command) {
    std::array<int, 2> pipe_fds{};
    if (pipe2(pipe_fds.data(), O_CLOEXEC) < 0) {
        throw std::runtime_error("pipe2");
    }
    output_.reset(pipe_fds[0]);
    const UniqueFd write_end(pipe_fds[1]);
    std::vector<char *> arguments;
    for (const std::string &argument : command) {
        arguments.push_back(const_cast<char *>(argument.c_str()));
    }
    arguments.push_back(nullptr);

    pid_ = fork();
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(write_end.get(), STDOUT_FILENO);
        dup2(write_end.get(), STDERR_FILENO);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
}

Process::~Process() {
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
}

void Process::signal(int number) const {
    kill(pid_, number);
}

bool Process::read_some() {
    pollfd poll_fd{output_.get(), POLLIN, 0};
    if (poll(&poll_fd, 1, read_timeout_ms) <= 0) {
        return false;
    }
    std::array<char, 4096> buffer{};
    const ssize_t n = read(output_.get(), buffer.data(), buffer.size());
    if (n <= 0) {
        return false;
    }
    text_.append(buffer.data(), static_cast<size_t>(n));
    return true;
}

Result Process::wait() {
    while (read_some()) {
    }
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return {status, text_};
}

bool Process::wait_for_output(const std::string &text) {
    while (text_.find(text) == std::string::npos) {
        if (!read_some()) {
            return false;
        }
    }
    return true;
}

Result run(const std::vector<std::string> &command) {
    return Process(command).wait();
}

}  // namespace vdpa::test
