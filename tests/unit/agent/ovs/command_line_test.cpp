// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/command_line.hpp"

#include <getopt.h>
#include <gmock/gmock.h>
#include <stdlib.h>

namespace vdpa::agent::ovs {
namespace {

/* In a child process: the parser prints, exits and keeps state. There, `check` exits with 0 if the
 * options are as they should be. */
class CommandLine : public testing::Test {
  protected:
    static AgentOptions parse(std::vector<std::string> arguments) {
        /* Never destroyed, because libopenvswitch keeps pointers into them. */
        static auto &kept = *new std::vector<std::string>;
        static auto &argv = *new std::vector<char *>;
        kept = std::move(arguments);
        kept.insert(kept.begin(), "ovs-vdpa-agent");
        argv.clear();
        for (std::string &argument : kept) {
            argv.push_back(argument.data());
        }
        argv.push_back(nullptr);
        optind = 0;
        return parse_command_line(static_cast<int>(kept.size()), argv.data());
    }

    template <typename Check>
    static void expect(const std::vector<std::string> &arguments, Check check) {
        EXPECT_EXIT(exit(check(parse(arguments)) ? 0 : 1), testing::ExitedWithCode(0), "");
    }
};

TEST_F(CommandLine, without_arguments_names_the_default_sockets) {
    setenv("OVS_RUNDIR", "/somewhere", 1);
    expect({}, [](const AgentOptions &options) {
        return options.database == "unix:/somewhere/db.sock" && options.unixctl_path.empty() &&
               options.engines == std::vector<std::string>{"/run/ovs-vdpa-engine/rpc.sock"};
    });
}

TEST_F(CommandLine, takes_database_control_socket_and_engines) {
    expect({"--engine=/a", "--unixctl=/ctl", "--engine", "/b", "--engine=/a", "tcp:127.0.0.1:6640"},
           [](const AgentOptions &options) {
               return options.database == "tcp:127.0.0.1:6640" && options.unixctl_path == "/ctl" &&
                      options.engines == std::vector<std::string>{"/a", "/b"};
           });
}

TEST_F(CommandLine, makes_relative_engine_sockets_absolute) {
    expect({"--engine=rpc.sock"}, [](const AgentOptions &options) {
        return options.engines[0].starts_with('/') && options.engines[0].ends_with("/rpc.sock");
    });
}

TEST_F(CommandLine, accepts_the_options_of_every_ovs_daemon) {
    expect({"-vconsole:off", "--pidfile=/tmp/x.pid", "--detach", "--no-chdir", "--monitor",
            "--overwrite-pidfile", "--private-key=/tmp/k", "--certificate=/tmp/c", "--ca-cert=none",
            "--bootstrap-ca-cert=/tmp/b", "--peer-ca-cert=/tmp/p", "--syslog-method=null"},
           [](const AgentOptions &) { return true; });
}

TEST_F(CommandLine, refuses_what_is_wrong) {
    EXPECT_EXIT(parse({"a", "b"}), testing::ExitedWithCode(1), "at most one non-option argument");
    EXPECT_EXIT(parse({"--no-such-option"}), testing::ExitedWithCode(1), "no-such-option");
    EXPECT_EXIT(parse({"--engine="}), testing::ExitedWithCode(1), "SOCKET is empty");
    EXPECT_EXIT(parse({"--engine=/" + std::string(107, 'x')}), testing::ExitedWithCode(1),
                "at most 107 bytes");
}

TEST_F(CommandLine, shows_help_and_version) {
    EXPECT_EXIT(parse({"--help"}), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(parse({"--version"}), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vdpa::agent::ovs
