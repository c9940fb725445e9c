// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/control_socket.hpp"

#include <atomic>
#include <exception>
#include <utility>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/ovs/shim/loop.h"
#include "ovs-vdpa-agent/ovs/utf8.hpp"

namespace vdpa::agent::ovs {
namespace {

const log::Module log_module{"control_socket"};

/* The right to answer one request. Shared by the copies of Command::reply. */
class PendingReply {
  public:
    PendingReply(std::shared_ptr<Inbox> inbox, uint64_t request)
        : inbox_(std::move(inbox)), request_(request) {}
    PendingReply(const PendingReply &) = delete;
    PendingReply &operator=(const PendingReply &) = delete;
    ~PendingReply() { send(false, "no answer to this command was given"); }

    void send(bool ok, std::string text) {
        if (!answered_.exchange(true)) {
            inbox_->put_reply({request_, ok, std::move(text)});
        }
    }

  private:
    std::shared_ptr<Inbox> inbox_;
    uint64_t request_;
    std::atomic<bool> answered_ = false;
};

/* Whose commands the library's registrations, which cannot be undone, lead to. */
ControlSocket *current = nullptr;

}  // namespace

struct ControlSocket::Trampoline {
    std::string name;
    std::string usage;

    static void call(void *aux, ovda_control_conn *conn, int n, const char *const args[]) noexcept {
        const auto &self = *static_cast<const Trampoline *>(aux);
        if (current && current->handlers_.contains(self.name)) {
            current->dispatch(self.name, conn, std::vector<std::string>(args, args + n));
        } else {
            ovda_control_reply(conn, false, "this command is not available now");
        }
    }
};

ControlSocket::ControlSocket(std::shared_ptr<Inbox> inbox) : inbox_(std::move(inbox)) {}

ControlSocket::~ControlSocket() {
    close(false, "the daemon is exiting");
}

void ControlSocket::register_command(const std::string &name, const std::string &usage, int min,
                                     int max, OvsThread::Handler handler) {
    static std::map<std::string, Trampoline> registered;
    const auto [position, is_new] = registered.try_emplace(name, Trampoline{name, usage});
    if (is_new) {
        Trampoline &trampoline = position->second;
        ovda_control_register(trampoline.name.c_str(), trampoline.usage.c_str(), min, max,
                              Trampoline::call, &trampoline);
    }
    handlers_[name] = std::move(handler);
}

int ControlSocket::open(const std::string &path) {
    current = this;
    return ovda_control_create(path.c_str(), &control_);
}

void ControlSocket::run() {
    ovda_control_run(control_);
}

void ControlSocket::wait() {
    ovda_control_wait(control_);
}

void ControlSocket::dispatch(const std::string &name, ovda_control_conn *conn,
                             std::vector<std::string> args) {
    const uint64_t request = ++last_request_;
    open_.emplace(request, conn);
    const auto pending = std::make_shared<PendingReply>(inbox_, request);
    try {
        handlers_[name]({std::move(args), [pending](bool ok, std::string text) {
                             pending->send(ok, std::move(text));
                         }});
    } catch (const std::exception &error) {
        log_module.error("command " + name + " failed: " + error.what());
        pending->send(false, "internal error; see the log");
    }
}

void ControlSocket::answer(const Reply &reply) {
    const auto found = open_.find(reply.request);
    if (found != open_.end()) {
        ovda_control_reply(found->second, reply.ok, valid_utf8(reply.text).c_str());
        open_.erase(found);
    }
}

void ControlSocket::close(bool ok, const std::string &text) {
    for (const auto &[request, conn] : open_) {
        ovda_control_reply(conn, ok, text.c_str());
    }
    open_.clear();
    ovda_control_destroy(control_);
    control_ = nullptr;
    if (current == this) {
        current = nullptr;
    }
}

}  // namespace vdpa::agent::ovs
