// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/ovs/rows.hpp"

namespace vdpa::agent::ovs {

/* An invocation of a unixctl command (ovs-appctl). */
struct Command {
    std::vector<std::string> args; /* Without the command's name. */
    /* Answers, once; later calls do nothing. May be called from any thread, at any time, also when
     * the client has gone away or the OVS thread has ended. When the last copy is destroyed without
     * having been called, the client is told that there is no answer. */
    std::function<void(bool ok, std::string text)> reply;
};

/* The agent's side of Open vSwitch: the replica of the database, the lock, the status keys that are
 * written back, the unixctl server. Everything of libopenvswitch but its log runs on the thread
 * that calls run(); the other threads only put work into a queue.
 *
 * Callbacks run on that thread. They must not block, and an exception that escapes from one is
 * logged and dropped. */
class OvsThread {
  public:
    struct Callbacks {
        std::function<void(Changes)> on_changes;
        std::function<void(ConnectionState)> on_connection;
        /* After "ovs-appctl resync", when the complete hand-over has been made. May be empty. */
        std::function<void()> on_resync;
        /* SIGTERM, SIGINT, "ovs-appctl exit" or stop(): run() is about to return. May be empty. */
        std::function<void()> on_exit;
    };

    struct Settings {
        std::string database;     /* An OVSDB remote: "unix:/run/openvswitch/db.sock". */
        std::string unixctl_path; /* As --unixctl takes it; empty: <rundir>/<program>.<pid>.ctl */
    };

    using Handler = std::function<void(Command)>;

    OvsThread(Settings settings, Callbacks callbacks);
    ~OvsThread();
    OvsThread(const OvsThread &) = delete;
    OvsThread &operator=(const OvsThread &) = delete;

    /* Registers a unixctl command that takes `min` to `max` arguments; `usage` describes them.
     * Only before run(). `handler` runs on the OVS thread and may answer later. */
    void register_command(const std::string &name, const std::string &usage, int min, int max,
                          Handler handler);

    /* Wanted status, kept from now on: compared with what the database holds, written key by key
     * while the lock is held, and written again if somebody changes it. A name whose every key is
     * nullopt is forgotten once it is so in the database, or its row is gone. From any thread. */
    void set_status(std::vector<StatusUpdate> updates);

    /* Asks whether there is an Interface row of that name, be it a vDPA port or not. `done` is
     * called once, on the OVS thread, and must not block; not when that ends before. From any
     * thread. */
    void has_interface(std::string name, std::function<void(bool)> done);

    /* What is served now has been acted on for the first time: a parent process that waits for the
     * daemon to be ready (--detach) ends. From any thread; later calls do nothing. */
    void startup_complete();

    /* Opens the unixctl socket, connects to the database and serves both until stop(), SIGTERM,
     * SIGINT or "exit". Once in the life of a process. Returns the process's exit status: 0, or 1
     * when the unixctl socket could not be opened. Answers every open unixctl request at its end.
     */
    int run();

    /* From any thread. */
    void stop();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vdpa::agent::ovs
