// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ovs-vdpa-agent/ovs/inbox.hpp"
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"

struct ovda_control;
struct ovda_control_conn;

namespace vdpa::agent::ovs {

/* The unixctl server, with answers that may come later and from any thread. Commands are global in
 * libopenvswitch and stay registered, so one object at a time may be open. */
class ControlSocket {
  public:
    explicit ControlSocket(std::shared_ptr<Inbox> inbox);
    ~ControlSocket();
    ControlSocket(const ControlSocket &) = delete;
    ControlSocket &operator=(const ControlSocket &) = delete;

    void register_command(const std::string &name, const std::string &usage, int min, int max,
                          OvsThread::Handler handler);

    /* As OvsThread::Settings::unixctl_path. 0 or an errno value. */
    int open(const std::string &path);
    void run();
    void wait();

    void answer(const Reply &reply);
    /* Answers whatever is still open, then closes. */
    void close(bool ok, const std::string &text);

  private:
    struct Trampoline;
    void dispatch(const std::string &name, ovda_control_conn *conn, std::vector<std::string> args);

    std::shared_ptr<Inbox> inbox_;
    ovda_control *control_ = nullptr;
    std::map<std::string, OvsThread::Handler> handlers_;
    std::map<uint64_t, ovda_control_conn *> open_;
    uint64_t last_request_ = 0;
};

}  // namespace vdpa::agent::ovs
