// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>

#include "tests/unit/agent/ovs/database_fixture.hpp"

namespace vdpa::test {
namespace {

using testing::HasSubstr;

class Daemon : public DatabaseTest {
  protected:
    std::vector<std::string> command(std::vector<std::string> options) {
        options.insert(options.begin(),
                       {OVDA_TEST_DAEMON, server_->remote(), "--unixctl=" + control(),
                        "--pidfile=" + pid_file().string(), "-vsyslog:off"});
        return options;
    }

    std::string control() const { return folder_ / "daemon.ctl"; }
    std::filesystem::path pid_file() const { return folder_ / "daemon.pid"; }

    Result appctl(const std::string &subcommand) const {
        return run({"ovs-appctl", "--timeout=20", "-t", control(), subcommand});
    }

    static bool wait_until(const std::function<bool()> &condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }
};

TEST_F(Daemon, ends_with_status_0_at_sigterm_and_removes_its_files) {
    start_server();
    Process daemon(command({}));
    ASSERT_TRUE(daemon.wait_for_output("obtained lock"));
    EXPECT_TRUE(std::filesystem::exists(pid_file()));

    daemon.signal(SIGTERM);

    const Result result = daemon.wait();
    EXPECT_EQ(result.exit_status, 0) << result.output;
    EXPECT_FALSE(std::filesystem::exists(pid_file()));
    EXPECT_FALSE(std::filesystem::exists(control()));
}

TEST_F(Daemon, ends_at_sigterm_without_a_server) {
    start_server();
    server_->stop(SIGTERM);
    Process daemon(command({}));
    ASSERT_TRUE(daemon.wait_for_output("connection attempt failed"));

    daemon.signal(SIGTERM);

    EXPECT_EQ(daemon.wait().exit_status, 0);
}

TEST_F(Daemon, detached_is_ready_when_its_parent_returns) {
    start_server();

    const Result result =
        run(command({"--detach", "--no-chdir", "--log-file=" + (folder_ / "log").string()}));

    ASSERT_EQ(result.exit_status, 0) << result.output;
    EXPECT_EQ(appctl("connection-status").output, "connected\n");
    EXPECT_EQ(appctl("exit").exit_status, 0);
    EXPECT_TRUE(wait_until([this] { return !std::filesystem::exists(pid_file()); }));
}

TEST_F(Daemon, monitored_is_restarted_after_a_crash_and_not_after_exit) {
    start_server();
    const Result started = run(command(
        {"--detach", "--monitor", "--no-chdir", "--log-file=" + (folder_ / "log").string()}));
    ASSERT_EQ(started.exit_status, 0) << started.output;
    const auto read_pid = [this] {
        pid_t pid = 0;
        std::ifstream(pid_file()) >> pid;
        return pid;
    };
    const pid_t first = read_pid();

    kill(first, SIGABRT);

    ASSERT_TRUE(wait_until([&] {
        const pid_t pid = read_pid();
        return pid != 0 && pid != first && appctl("connection-status").output == "connected\n";
    }));
    EXPECT_EQ(appctl("exit").exit_status, 0);
    EXPECT_TRUE(wait_until([this] { return !std::filesystem::exists(pid_file()); }));
}

TEST_F(Daemon, names_its_own_version_and_that_of_the_library) {
    start_server();
    Process daemon(command({}));
    ASSERT_TRUE(daemon.wait_for_output("obtained lock"));

    EXPECT_THAT(appctl("version").output, HasSubstr(OVDA_VERSION "\nOpen vSwitch Library"));
}

}  // namespace
}  // namespace vdpa::test
