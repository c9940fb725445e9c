// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "schema/support/unique_fd.hpp"

namespace vdpa::test {

struct Result {
    int exit_status;    /* As of waitpid(): 0 is success. */
    std::string output; /* Standard output and standard error. */
};

/* A child process, killed with the object and with this process. */
class Process {
  public:
    explicit Process(const std::vector<std::string> &command);
    ~Process();
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;

    pid_t pid() const { return pid_; }
    void signal(int number) const;
    /* Reads its output to the end and waits for it. */
    Result wait();
    /* Reads until the output so far contains `text`; whether it does, before the output's end. */
    bool wait_for_output(const std::string &text);

  private:
    bool read_some();

    pid_t pid_ = -1;
    UniqueFd output_;
    std::string text_;
};

Result run(const std::vector<std::string> &command);

}  // namespace vdpa::test
