// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ovs-vdpa-agent/ovs/ovs_thread.hpp"
#include "tests/unit/agent/ovs/process.hpp"

namespace vdpa::test {

using agent::ovs::Changes;
using agent::ovs::Command;
using agent::ovs::ConnectionState;
using agent::ovs::InterfaceRow;
using agent::ovs::OvsThread;

/* A real ovsdb-server with an Open_vSwitch database, in a folder of its own. */
class DatabaseServer {
  public:
    /* `schema` empty: that of the installed Open vSwitch. */
    explicit DatabaseServer(const std::filesystem::path &folder, const std::string &schema = "");
    void start();
    void stop(int signal_number);
    /* From the one to the other it can write nothing, and refuses what would change the database.
     */
    void fill_disk() const;
    void empty_disk() const;
    bool wait_for_failed_write() const;
    std::string remote() const { return "unix:" + socket_.string(); }
    /* "ovs-vsctl ARGS", which must succeed; its output without the last newline. */
    std::string vsctl(const std::vector<std::string> &args) const;

  private:
    std::filesystem::path log_path() const { return folder_ / "ovsdb-server.log"; }

    std::filesystem::path folder_;
    std::filesystem::path socket_;
    std::unique_ptr<Process> process_;
};

/* What an OvsThread in a thread of its own hands over. */
class Agent {
  public:
    using Rows = std::map<std::string, InterfaceRow>;
    struct View {
        Rows rows; /* By the rules of Changes. */
        std::vector<Changes> history;
        std::vector<ConnectionState> connections;
        int resyncs = 0;
        bool has_global = false;
        agent::ovs::GlobalRow global;
    };

    Agent(const std::string &remote, const std::filesystem::path &control_socket);
    ~Agent();

    OvsThread &thread() { return thread_; }
    void start();
    /* Stops the thread and returns what run() returned. */
    int stop();
    /* Waits for run() to return by itself. */
    int join();

    /* Whether the condition came true within 20 seconds. */
    bool wait(const std::function<bool(const View &)> &condition);
    bool wait_for_row(const std::string &name,
                      const std::function<bool(const InterfaceRow &)> &condition);
    bool wait_for_lock();
    View view();

    /* "ovs-appctl ARGS" */
    Result appctl(std::vector<std::string> args) const;
    std::vector<std::string> appctl_command(std::vector<std::string> args) const;

  private:
    void apply(Changes changes);

    std::filesystem::path control_socket_;
    std::mutex mutex_;
    std::condition_variable changed_;
    View view_;
    OvsThread thread_;
    std::thread runner_;
    int exit_status_ = -1;
};

class DatabaseTest : public testing::Test {
  protected:
    DatabaseTest();
    ~DatabaseTest() override;

    /* Starts the server with an initialised database and a bridge br0. */
    void start_server(const std::string &schema = "");
    /* ... and the agent; returns when everything was handed over and the lock obtained. */
    void start_agent();
    std::string vsctl(const std::vector<std::string> &args) { return server_->vsctl(args); }
    /* Adds a vDPA port to the bridge and waits for its hand-over. */
    void add_port(const std::string &name, const std::string &bridge = "br0");
    /* Value of a key of external_ids, as ovs-vsctl prints it; empty: absent. */
    std::string status_key(const std::string &interface, const std::string &key);
    /* Whether ovs-vsctl sees that value within 20 seconds; empty: absent. */
    bool wait_for_status(const std::string &interface, const std::string &key,
                         const std::string &value);

    std::filesystem::path folder_;
    std::unique_ptr<DatabaseServer> server_;
    std::unique_ptr<Agent> agent_;
};

}  // namespace vdpa::test
