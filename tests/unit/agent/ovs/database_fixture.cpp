// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/ovs/database_fixture.hpp"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::test {
namespace {

constexpr const char *installed_schema = "/usr/share/openvswitch/vswitch.ovsschema";
constexpr auto timeout = std::chrono::seconds(20);

}  // namespace

DatabaseServer::DatabaseServer(const std::filesystem::path &folder, const std::string &schema)
    : folder_(folder), socket_(folder / "db.sock") {
    const Result result = run(
        {"ovsdb-tool", "create", folder_ / "conf.db", schema.empty() ? installed_schema : schema});
    if (result.exit_status != 0) {
        throw std::runtime_error("ovsdb-tool: " + result.output);
    }
    start();
}

void DatabaseServer::start() {
    /* One whose disk is full does not die of that; see fill_disk(). It says so again and again, to
     * the file alone: nobody takes what it prints. */
    process_ = std::make_unique<Process>(std::vector<std::string>{
        "env", "--ignore-signal=XFSZ", "ovsdb-server", folder_ / "conf.db",
        "--remote=punix:" + socket_.string(),
        "--unixctl=" + (folder_ / "ovsdb-server.ctl").string(), "--log-file=" + log_path().string(),
        "-vfile:info", "-vconsole:off", "-vsyslog:off"});
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        /* Not ovs-vsctl: that makes the Open_vSwitch row if there is none. */
        const Result result = run({"ovsdb-client", "list-dbs", remote()});
        if (result.exit_status == 0) {
            return;
        }
        if (std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error("ovsdb-server: " + result.output);
        }
    }
}

void DatabaseServer::stop(int signal_number) {
    process_->signal(signal_number);
    process_->wait();
    process_.reset();
}

void DatabaseServer::fill_disk() const {
    const rlimit full{.rlim_cur = std::filesystem::file_size(folder_ / "conf.db"),
                      .rlim_max = RLIM_INFINITY};
    EXPECT_EQ(::prlimit(process_->pid(), RLIMIT_FSIZE, &full, nullptr), 0);
}

void DatabaseServer::empty_disk() const {
    const rlimit none{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    EXPECT_EQ(::prlimit(process_->pid(), RLIMIT_FSIZE, &none, nullptr), 0);
}

bool DatabaseServer::wait_for_failed_write() const {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (std::chrono::steady_clock::now() < deadline) {
        std::ifstream log(log_path());
        const std::string text(std::istreambuf_iterator<char>(log), {});
        if (text.find("write failed") != std::string::npos) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

std::string DatabaseServer::vsctl(const std::vector<std::string> &args) const {
    std::vector<std::string> command = {"ovs-vsctl", "--db=" + remote(), "--timeout=20",
                                        "--no-wait", "-vsyslog:off"};
    command.insert(command.end(), args.begin(), args.end());
    Result result = run(command);
    EXPECT_EQ(result.exit_status, 0) << result.output;
    if (result.output.ends_with('\n')) {
        result.output.pop_back();
    }
    return result.output;
}

Agent::Agent(const std::string &remote, const std::filesystem::path &control_socket)
    : control_socket_(control_socket),
      thread_({.database = remote, .unixctl_path = control_socket.string()},
              {.on_changes = [this](Changes changes) { apply(std::move(changes)); },
               .on_connection =
                   [this](ConnectionState state) {
                       const std::lock_guard lock(mutex_);
                       view_.connections.push_back(std::move(state));
                       changed_.notify_all();
                   },
               .on_resync =
                   [this] {
                       const std::lock_guard lock(mutex_);
                       view_.resyncs++;
                       changed_.notify_all();
                   },
               .on_exit = nullptr}) {}

Agent::~Agent() {
    stop();
}

void Agent::start() {
    runner_ = std::thread([this] {
        agent::log::set_thread_name("ovs");
        exit_status_ = thread_.run();
    });
}

int Agent::stop() {
    thread_.stop();
    return join();
}

int Agent::join() {
    if (runner_.joinable()) {
        runner_.join();
    }
    return exit_status_;
}

void Agent::apply(Changes changes) {
    const std::lock_guard lock(mutex_);
    if (changes.complete) {
        view_.rows.clear();
    }
    for (const InterfaceRow &row : changes.interfaces) {
        view_.rows[row.name] = row;
    }
    for (const std::string &name : changes.gone) {
        view_.rows.erase(name);
    }
    if (changes.global) {
        view_.global = *changes.global;
    }
    view_.has_global = changes.has_global;
    view_.history.push_back(std::move(changes));
    changed_.notify_all();
}

bool Agent::wait(const std::function<bool(const View &)> &condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return condition(view_); });
}

bool Agent::wait_for_row(const std::string &name,
                         const std::function<bool(const InterfaceRow &)> &condition) {
    return wait([&](const View &view) {
        const auto found = view.rows.find(name);
        return found != view.rows.end() && condition(found->second);
    });
}

bool Agent::wait_for_lock() {
    return wait([](const View &view) {
        return !view.connections.empty() && view.connections.back().lock_held;
    });
}

Agent::View Agent::view() {
    const std::lock_guard lock(mutex_);
    return view_;
}

std::vector<std::string> Agent::appctl_command(std::vector<std::string> args) const {
    args.insert(args.begin(), {"ovs-appctl", "--timeout=20", "-t", control_socket_.string()});
    return args;
}

Result Agent::appctl(std::vector<std::string> args) const {
    return run(appctl_command(std::move(args)));
}

DatabaseTest::DatabaseTest() {
    /* As parse_command_line() does. */
    signal(SIGPIPE, SIG_IGN);
    std::string name = "/tmp/agent_ovs_test.XXXXXX";
    folder_ = mkdtemp(name.data());
}

DatabaseTest::~DatabaseTest() {
    agent_.reset();
    server_.reset();
    // A daemon that a test has told to end removes its own files, until it is gone.
    std::error_code error;
    const auto bound = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    do {
        std::filesystem::remove_all(folder_, error);
    } while (error && std::chrono::steady_clock::now() < bound);
    EXPECT_FALSE(error) << folder_ << ": " << error.message();
}

void DatabaseTest::start_server(const std::string &schema) {
    server_ = std::make_unique<DatabaseServer>(folder_, schema);
    vsctl({"init"});
    vsctl({"add-br", "br0"});
}

void DatabaseTest::start_agent() {
    agent_ = std::make_unique<Agent>(server_->remote(), folder_ / "agent.ctl");
    agent_->start();
    ASSERT_TRUE(agent_->wait([](const Agent::View &view) { return !view.history.empty(); }));
    ASSERT_TRUE(agent_->wait_for_lock());
}

void DatabaseTest::add_port(const std::string &name, const std::string &bridge) {
    vsctl({"add-port", bridge, name, "--", "set", "Interface", name,
           "options:vdpa-socket=/tmp/" + name + ".sock"});
    ASSERT_TRUE(agent_->wait_for_row(name, [](const InterfaceRow &) { return true; }));
}

std::string DatabaseTest::status_key(const std::string &interface, const std::string &key) {
    return vsctl({"--if-exists", "get", "Interface", interface, "external_ids:" + key});
}

bool DatabaseTest::wait_for_status(const std::string &interface, const std::string &key,
                                   const std::string &value) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (status_key(interface, key) != value) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
    }
    return true;
}

}  // namespace vdpa::test
