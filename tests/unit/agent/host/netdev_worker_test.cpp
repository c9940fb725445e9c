// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/netdev_worker.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;

constexpr std::chrono::seconds longest_wait{30};

class NetdevWorkerTest : public NamespaceTest {
  protected:
    void SetUp() override {
        NamespaceTest::SetUp();
        if (IsSkipped()) {
            return;
        }
        auto taps = Taps::open(OwnedFile(record));
        ASSERT_TRUE(taps);
        worker = std::make_unique<NetdevWorker>(control, std::move(*taps));
    }
    void TearDown() override {
        worker.reset();
        NamespaceTest::TearDown();
    }
    auto note(const std::string &what) {
        return [this, what, thread = std::this_thread::get_id()](const auto &result) {
            EXPECT_EQ(std::this_thread::get_id(), thread) << "not on the control thread";
            EXPECT_TRUE(result) << what << ": " << result.error().detail;
            answers.push_back(what);
        };
    }
    /* Answers are waited for in this thread, which stands for the control thread. */
    void wait_for(size_t count) {
        control.restart();
        const auto work = boost::asio::make_work_guard(control);
        const auto end = std::chrono::steady_clock::now() + longest_wait;
        while (answers.size() < count && std::chrono::steady_clock::now() < end) {
            control.run_one_for(std::chrono::milliseconds(100));
        }
        ASSERT_EQ(answers.size(), count);
    }

    /* Has the worker wait, in reading a record that nobody has begun to write. */
    void hold() {
        ASSERT_EQ(::mkfifo(record.c_str(), 0600), 0);
        worker->owned_taps([](const auto &result) { EXPECT_FALSE(result) << "an empty file"; });
    }
    void let_go() {
        const UniqueFd writer(::open(record.c_str(), O_WRONLY | O_CLOEXEC));
        ASSERT_TRUE(writer);
        ::unlink(record.c_str());
    }

    const std::string record = folder.path("owned.json");
    boost::asio::io_context control;
    std::vector<std::string> answers;
    std::unique_ptr<NetdevWorker> worker;
};

TEST_F(NetdevWorkerTest, answers_each_request_once_on_the_control_thread) {
    worker->ensure_tap("w1", {}, note("made"));
    worker->owned_taps(note("listed"));
    wait_for(2);
    worker->remove_tap("w1", note("deleted"));
    wait_for(3);
    EXPECT_THAT(answers, ElementsAre("made", "listed", "deleted"));
}

TEST_F(NetdevWorkerTest, carries_requests_about_one_name_out_in_their_order) {
    hold();
    worker->ensure_tap("w1", {}, note("1"));
    worker->remove_tap("w1", note("2"));
    worker->ensure_tap("w1", {}, note("3"));
    worker->remove_tap("w1", note("4"));
    worker->ensure_tap("w1", {}, note("5"));
    let_go();
    wait_for(5);
    EXPECT_THAT(answers, ElementsAre("1", "2", "3", "4", "5"));
    EXPECT_TRUE(find("w1"));
}

TEST_F(NetdevWorkerTest, makes_what_is_wanted_before_it_deletes_what_is_not) {
    hold();
    worker->ensure_tap("w1", {}, note("w1 made"));
    worker->remove_tap("w1", note("w1 deleted"));
    worker->ensure_tap("w2", {}, note("w2 made"));
    worker->ensure_tap("w3", {}, note("w3 made"));
    let_go();
    wait_for(4);
    EXPECT_THAT(answers, ElementsAre("w1 made", "w2 made", "w3 made", "w1 deleted"));
}

TEST_F(NetdevWorkerTest, may_end_while_there_is_something_to_do) {
    for (int i = 0; i < 50; i++) {
        worker->ensure_tap("w" + std::to_string(i), {}, note("made"));
    }
    worker.reset();
    control.poll();
    for (size_t i = 0; i < answers.size(); i++) {
        EXPECT_TRUE(find("w" + std::to_string(i))) << i;
    }
}

}  // namespace
}  // namespace vdpa::agent::host
