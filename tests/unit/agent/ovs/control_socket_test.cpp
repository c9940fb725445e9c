// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <signal.h>

#include "tests/unit/agent/ovs/database_fixture.hpp"

namespace vdpa::test {
namespace {

using testing::HasSubstr;

class ControlSocket : public DatabaseTest {
  protected:
    /* An agent with the commands test/echo, which answers at once, and test/later, which leaves it
     * to the test. */
    void start_agent_with_commands() {
        start_server();
        agent_ = std::make_unique<Agent>(server_->remote(), folder_ / "agent.ctl");
        agent_->thread().register_command("test/echo", "TEXT [TEXT]", 1, 2, [](Command command) {
            std::string text;
            for (const std::string &arg : command.args) {
                text += "<" + arg + ">";
            }
            command.reply(true, text);
        });
        agent_->thread().register_command("test/later", "", 0, 0, [this](Command command) {
            const std::lock_guard lock(mutex_);
            deferred_.push_back(std::move(command));
            changed_.notify_all();
        });
        agent_->thread().register_command("test/throw", "", 0, 0, [](const Command &) {
            throw std::runtime_error("on purpose");
        });
        agent_->thread().register_command("test/forget", "", 0, 0, [](const Command &) {});
        start_agent();
    }

    /* The thread makes the socket only once it runs. */
    void start_agent() {
        agent_->start();
        const auto bound = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (agent_->appctl({"version"}).exit_status != 0 &&
               std::chrono::steady_clock::now() < bound) {
        }
    }

    Command take_deferred() {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, std::chrono::seconds(20),
                               [this] { return !deferred_.empty(); })) {
            throw std::runtime_error("test/later was not called");
        }
        Command command = std::move(deferred_.front());
        deferred_.erase(deferred_.begin());
        return command;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Command> deferred_;
};

TEST_F(ControlSocket, passes_arguments_and_answer) {
    start_agent_with_commands();

    const Result result = agent_->appctl({"test/echo", "a b", "c"});

    EXPECT_EQ(result.exit_status, 0);
    EXPECT_EQ(result.output, "<a b><c>\n");
}

TEST_F(ControlSocket, checks_the_number_of_arguments) {
    start_agent_with_commands();

    EXPECT_THAT(agent_->appctl({"test/echo"}).output, HasSubstr("requires at least 1 arguments"));
    EXPECT_NE(agent_->appctl({"test/echo", "1", "2", "3"}).exit_status, 0);
}

TEST_F(ControlSocket, lists_our_commands_beside_those_of_open_vswitch) {
    start_agent_with_commands();

    const std::string output = agent_->appctl({"list-commands"}).output;

    for (const char *command :
         {"test/echo", "connection-status", "resync", "exit", "version", "vlog/set"}) {
        EXPECT_THAT(output, HasSubstr(command));
    }
}

TEST_F(ControlSocket, sends_an_answer_given_later_by_another_thread) {
    start_agent_with_commands();
    Process client(agent_->appctl_command({"test/later"}));
    const Command command = take_deferred();
    EXPECT_EQ(agent_->appctl({"test/echo", "others"}).output, "<others>\n");

    command.reply(true, "at last");
    command.reply(false, "only the first counts");

    const Result result = client.wait();
    EXPECT_EQ(result.exit_status, 0);
    EXPECT_EQ(result.output, "at last\n");
}

TEST_F(ControlSocket, survives_a_client_that_does_not_wait_for_its_answer) {
    start_agent_with_commands();
    Process client(agent_->appctl_command({"test/later"}));
    const Command command = take_deferred();
    client.signal(SIGKILL);
    client.wait();
    EXPECT_EQ(agent_->appctl({"test/echo", "1"}).output, "<1>\n");

    command.reply(true, "nobody listens");

    EXPECT_EQ(agent_->appctl({"test/echo", "2"}).output, "<2>\n");
}

TEST_F(ControlSocket, says_that_nobody_answers_when_the_last_copy_of_a_command_is_gone) {
    start_agent_with_commands();

    const Result result = agent_->appctl({"test/forget"});

    EXPECT_NE(result.exit_status, 0);
    EXPECT_THAT(result.output, HasSubstr("no answer"));
}

TEST_F(ControlSocket, answers_for_a_handler_that_throws) {
    start_agent_with_commands();

    const Result result = agent_->appctl({"test/throw"});

    EXPECT_NE(result.exit_status, 0);
    EXPECT_THAT(result.output, HasSubstr("internal error"));
    EXPECT_EQ(agent_->appctl({"test/echo", "1"}).output, "<1>\n");
}

TEST_F(ControlSocket, answers_open_requests_at_the_end) {
    start_agent_with_commands();
    Process client(agent_->appctl_command({"test/later"}));
    const Command command = take_deferred();

    EXPECT_EQ(agent_->appctl({"exit"}).exit_status, 0);

    EXPECT_EQ(agent_->join(), 0);
    const Result result = client.wait();
    EXPECT_NE(result.exit_status, 0);
    EXPECT_THAT(result.output, HasSubstr("exiting"));
    command.reply(true, "too late, and harmless");
}

TEST_F(ControlSocket, refuses_resync_before_the_database_was_read) {
    start_server();
    server_->stop(SIGTERM);
    agent_ = std::make_unique<Agent>(server_->remote(), folder_ / "agent.ctl");
    start_agent();

    const Result result = agent_->appctl({"resync"});

    EXPECT_NE(result.exit_status, 0);
    EXPECT_THAT(result.output, HasSubstr("not been read"));
}

TEST_F(ControlSocket, that_cannot_be_opened_ends_run_with_an_error) {
    start_server();
    agent_ = std::make_unique<Agent>(server_->remote(), folder_ / "missing" / "agent.ctl");
    agent_->start();

    EXPECT_EQ(agent_->join(), 1);
}

}  // namespace
}  // namespace vdpa::test
