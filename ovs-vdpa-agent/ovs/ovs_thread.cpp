// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include "ovs-vdpa-agent/ovs/control_socket.hpp"
#include "ovs-vdpa-agent/ovs/inbox.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/ovs/replica.hpp"
#include "ovs-vdpa-agent/ovs/shim/loop.h"
#include "ovs-vdpa-agent/ovs/shim/process.h"
#include "ovs-vdpa-agent/ovs/status_writer.hpp"

namespace vdpa::agent::ovs {
namespace {

using Clock = std::chrono::steady_clock;

const log::Module log_module{"ovs_thread"};

/* Of our own: ovs-vswitchd holds "ovs_vswitchd". */
constexpr const char *lock_name = "ovs_vdpa_agent";

/* How long an end that was asked for waits for status that is still to be written. */
constexpr auto last_writes_timeout = std::chrono::seconds(1);

template <typename Callback, typename... Arguments>
void call(const char *what, const Callback &callback, Arguments &&...arguments) {
    if (!callback) {
        return;
    }
    try {
        callback(std::forward<Arguments>(arguments)...);
    } catch (const std::exception &error) {
        log_module.error(std::string(what) + " failed: " + error.what());
    }
}

}  // namespace

class OvsThread::Impl {
  public:
    Impl(Settings settings, Callbacks callbacks);

    Inbox &inbox() { return *inbox_; }
    ControlSocket &control() { return control_; }
    int run();

  private:
    struct DbDeleter {
        void operator()(ovda_db *db) const { ovda_db_destroy(db); }
    };

    std::string connection_status() const;
    void resync(const Command &command);
    void take_inbox();
    void run_database();
    void report_connection();
    void hand_over(bool complete);
    void request_exit();
    bool may_write() const;
    bool may_end() const;
    void wait();
    void close();

    const Settings settings_;
    const Callbacks callbacks_;
    const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
    ControlSocket control_{inbox_};
    std::unique_ptr<ovda_db, DbDeleter> db_; /* These three exist while run() runs. */
    std::optional<StatusWriter> writer_;
    std::optional<Replica> replica_;
    ConnectionState connection_;
    unsigned int seen_seqno_ = 0;
    bool was_disconnected_ = false; /* Since the last hand-over. */
    bool resync_wanted_ = false;
    bool startup_completed_ = false;
    std::optional<Clock::time_point> exit_deadline_; /* Set: the end was asked for. */
    std::vector<Command> exit_commands_;             /* Answered at the very end. */
};

OvsThread::Impl::Impl(Settings settings, Callbacks callbacks)
    : settings_(std::move(settings)), callbacks_(std::move(callbacks)) {
    connection_.remote = settings_.database;
    control_.register_command("exit", "", 0, 0, [this](Command command) {
        exit_commands_.push_back(std::move(command));
        request_exit();
    });
    control_.register_command("connection-status", "", 0, 0, [this](const Command &command) {
        command.reply(true, connection_status());
    });
    control_.register_command("resync", "", 0, 0,
                              [this](const Command &command) { resync(command); });
}

int OvsThread::Impl::run() {
    if (control_.open(settings_.unixctl_path) != 0) {
        return 1;
    }
    db_.reset(ovda_db_create(settings_.database.c_str(), lock_name));
    writer_.emplace(db_.get());
    replica_.emplace(
        db_.get(),
        Replica::Observer{[this](const std::string &row) { writer_->recheck(row); },
                          [this](const std::string &row) { return writer_->wants(row); }});
    while (!may_end()) {
        control_.run();
        take_inbox();
        run_database();
        wait();
        ovda_loop_block();
    }
    close();
    return 0;
}

std::string OvsThread::Impl::connection_status() const {
    std::string text = connection_.connected ? "connected" : "not connected";
    if (connection_.lock_contended) {
        text += std::string(", waiting for lock ") + lock_name + ", which another client holds";
    }
    return text;
}

void OvsThread::Impl::resync(const Command &command) {
    if (seen_seqno_ == 0) {
        command.reply(false, "the database has not been read yet");
        return;
    }
    resync_wanted_ = true;
    command.reply(true, "");
}

void OvsThread::Impl::take_inbox() {
    Inbox::Content content = inbox_->take();
    writer_->want(std::move(content.status));
    for (const Reply &reply : content.replies) {
        control_.answer(reply);
    }
    for (const NameQuestion &question : content.questions) {
        const bool exists = ovda_db_find_interface(db_.get(), question.name.c_str()) != nullptr;
        call("an answer", question.done, exists);
    }
    if (content.startup_complete && !startup_completed_) {
        startup_completed_ = true;
        ovda_process_startup_complete();
    }
    if (content.stop || ovda_process_stop_requested()) {
        request_exit();
    }
}

void OvsThread::Impl::run_database() {
    ovda_db_run(db_.get());
    report_connection();
    const unsigned int seqno = ovda_db_seqno(db_.get());
    const bool resync = std::exchange(resync_wanted_, false);
    if (seqno != seen_seqno_ || resync) {
        /* What is tracked as changed is forgotten by the next run: collected now or never. */
        seen_seqno_ = seqno;
        hand_over(was_disconnected_ || resync);
        was_disconnected_ = was_disconnected_ && !connection_.connected;
        if (resync) {
            call("resync", callbacks_.on_resync);
        }
    }
    writer_->run(may_write());
}

void OvsThread::Impl::report_connection() {
    ConnectionState now;
    now.remote = settings_.database;
    now.connected = ovda_db_is_connected(db_.get());
    now.lock_held = now.connected && ovda_db_has_lock(db_.get());
    now.lock_contended = now.connected && ovda_db_is_lock_contended(db_.get());
    was_disconnected_ = was_disconnected_ || !now.connected;
    if (now == connection_) {
        return;
    }
    if (now.lock_contended && !connection_.lock_contended) {
        log_module.warn(std::string("another ovs-vdpa-agent holds lock ") + lock_name + " of " +
                        settings_.database + "; this one does nothing until it goes away");
    } else if (now.lock_held && !connection_.lock_held) {
        log_module.info(std::string("obtained lock ") + lock_name + " of " + settings_.database);
    }
    connection_ = now;
    call("on_connection", callbacks_.on_connection, now);
}

void OvsThread::Impl::hand_over(bool complete) {
    std::optional<Changes> changes = replica_->collect(complete);
    if (!changes) {
        return;
    }
    const bool everything = changes->complete;
    call("on_changes", callbacks_.on_changes, std::move(*changes));
    if (everything) {
        writer_->recheck_all();
        /* Reading a large database leaves its JSON behind as free memory. */
        malloc_trim(0);
    }
}

void OvsThread::Impl::request_exit() {
    if (!exit_deadline_) {
        exit_deadline_ = Clock::now() + last_writes_timeout;
        call("on_exit", callbacks_.on_exit);
    }
}

bool OvsThread::Impl::may_write() const {
    return connection_.lock_held && seen_seqno_ != 0;
}

bool OvsThread::Impl::may_end() const {
    return exit_deadline_ &&
           (!may_write() || writer_->is_idle() || Clock::now() >= *exit_deadline_);
}

void OvsThread::Impl::wait() {
    control_.wait();
    ovda_db_wait(db_.get());
    writer_->wait(may_write());
    ovda_loop_wait_readable(inbox_->fd());
    if (!exit_deadline_ && ovda_process_stop_fd() >= 0) {
        ovda_loop_wait_readable(ovda_process_stop_fd());
    }
    if (exit_deadline_) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(*exit_deadline_ - Clock::now());
        ovda_loop_wait_ms(may_end() ? 0 : std::max<long long>(left.count(), 0));
    }
}

void OvsThread::Impl::close() {
    for (const Command &command : std::exchange(exit_commands_, {})) {
        command.reply(true, "");
    }
    for (const Reply &reply : inbox_->take().replies) {
        control_.answer(reply);
    }
    inbox_->close();
    control_.close(false, "the daemon is exiting");
    replica_.reset();
    writer_.reset();
    db_.reset();
}

OvsThread::OvsThread(Settings settings, Callbacks callbacks)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(callbacks))) {}

OvsThread::~OvsThread() = default;

void OvsThread::register_command(const std::string &name, const std::string &usage, int min,
                                 int max, Handler handler) {
    impl_->control().register_command(name, usage, min, max, std::move(handler));
}

void OvsThread::set_status(std::vector<StatusUpdate> updates) {
    impl_->inbox().put_status(std::move(updates));
}

void OvsThread::has_interface(std::string name, std::function<void(bool)> done) {
    impl_->inbox().put_question({std::move(name), std::move(done)});
}

void OvsThread::startup_complete() {
    impl_->inbox().put_startup_complete();
}

int OvsThread::run() {
    return impl_->run();
}

void OvsThread::stop() {
    impl_->inbox().put_stop();
}

}  // namespace vdpa::agent::ovs
