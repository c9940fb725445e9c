// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/control_thread.hpp"

#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent {
namespace {

using testing::HasSubstr;

constexpr std::chrono::seconds longest_wait{30};

/* The control thread with a real host, a database that the test plays, and no engine. */
class ControlThreadTest : public host::NamespaceTest {
  protected:
    void SetUp() override {
        NamespaceTest::SetUp();
        if (!IsSkipped()) {
            start();
        }
    }
    void TearDown() override {
        control.reset();
        NamespaceTest::TearDown();
    }
    void start() {
        auto started = ControlThread::start(
            {{folder.path("engine.sock")}, folder.path("run")},
            {[this](std::vector<ovs::StatusUpdate> updates) {
                 const std::lock_guard lock(mutex_);
                 for (const auto &update : updates) {
                     for (const auto &[key, value] : update.keys) {
                         statuses_[update.interface][key] = value.value_or("");
                     }
                 }
                 changed_.notify_all();
             },
             [](const std::string &, std::function<void(bool)> done) { done(false); },
             [this] { passed_.set_value(); }});
        ASSERT_TRUE(started) << started.error().detail;
        control = std::move(*started);
    }
    void open_database(const std::vector<std::string> &names) {
        control->connection_changed({true, true, false, "unix:db.sock"});
        ovs::Changes changes;
        changes.complete = changes.has_global = true;
        changes.global.emplace();
        for (const std::string &name : names) {
            ovs::InterfaceRow row;
            row.name = name;
            row.options = {{"vdpa-socket", folder.path(name)}, {"vdpa-sw", "true"}};
            changes.interfaces.push_back(row);
        }
        control->database_changed(std::move(changes));
    }
    /* Waits for a status key to have that value. */
    testing::AssertionResult until(const std::string &name, const std::string &key,
                                   const std::string &value) {
        std::unique_lock lock(mutex_);
        const bool done =
            changed_.wait_for(lock, longest_wait, [&] { return statuses_[name][key] == value; });
        return done ? testing::AssertionSuccess()
                    : testing::AssertionFailure() << key << " is " << statuses_[name][key];
    }

    std::unique_ptr<ControlThread> control;
    std::promise<void> passed_;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::map<std::string, std::string>> statuses_;
};

TEST_F(ControlThreadTest, makes_the_netdev_of_a_row_and_waits_for_an_engine) {
    open_database({"vm1"});
    EXPECT_TRUE(until("vm1", "vdpa-reason", "engine-down"));
    EXPECT_TRUE(find("vm1"));
    EXPECT_EQ(passed_.get_future().wait_for(longest_wait), std::future_status::ready);
    EXPECT_EQ(control->board().port("vm1")->state, schema::State::waiting);
}

TEST_F(ControlThreadTest, makes_a_netdev_anew_that_is_deleted_by_hand) {
    open_database({"vm1"});
    ASSERT_TRUE(until("vm1", "vdpa-state", "waiting"));
    remove_by_hand("vm1");
    const auto end = std::chrono::steady_clock::now() + longest_wait;
    while (!find("vm1") && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    EXPECT_TRUE(find("vm1"));
}

TEST_F(ControlThreadTest, uses_a_name_as_soon_as_it_is_free) {
    make_foreign("vm1", true);
    open_database({"vm1"});
    ASSERT_TRUE(until("vm1", "vdpa-reason", "name-taken"));
    remove_by_hand("vm1");
    EXPECT_TRUE(until("vm1", "vdpa-reason", "engine-down"));
}

TEST_F(ControlThreadTest, deletes_what_no_row_names_any_more_after_a_restart) {
    open_database({"vm1", "vm2"});
    ASSERT_TRUE(until("vm1", "vdpa-state", "waiting"));
    ASSERT_TRUE(until("vm2", "vdpa-state", "waiting"));
    control.reset();
    ASSERT_TRUE(find("vm1")) << "ports go on being served without an agent";
    passed_ = {};
    start();
    open_database({"vm2"});
    const auto end = std::chrono::steady_clock::now() + longest_wait;
    while (find("vm1") && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    EXPECT_FALSE(find("vm1"));
    EXPECT_TRUE(find("vm2"));
}

TEST_F(ControlThreadTest, answers_questions_about_ports_that_are_not_there) {
    std::promise<Expected<report::StatsView>> answer;
    control->stats("vm1", false, [&answer](const auto &stats) { answer.set_value(stats); });
    const auto stats = answer.get_future().get();
    ASSERT_FALSE(stats);
    EXPECT_THAT(stats.error().detail, HasSubstr("vm1"));
}

TEST_F(ControlThreadTest, may_end_at_any_time) {
    open_database({"vm1", "vm2", "vm3", "vm4"});
    control.reset();
    EXPECT_FALSE(std::filesystem::exists(folder.path("run") + "/owned.json.new"));
}

TEST_F(ControlThreadTest, does_not_start_where_it_can_keep_no_record) {
    const auto started = ControlThread::start({{"/run/e.sock"}, folder.path("no/such/folder")}, {});
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().detail, HasSubstr(folder.path("no/such/folder")));
}

}  // namespace
}  // namespace vdpa::agent
