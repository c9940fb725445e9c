// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/account_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/unit/agent/event_loop.hpp"

namespace vdpa::agent::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/* So many names are asked about at a time; others have to wait for an answer. */
constexpr size_t at_a_time = 64;

constexpr Account missing{Account::State::missing, 0};
constexpr Account found(id_t id) {
    return {Account::State::found, id};
}
AccountName user(const std::string &name) {
    return {AccountName::Kind::user, name};
}
AccountName group(const std::string &name) {
    return {AccountName::Kind::group, name};
}

/* A name service that stands still for some names. It outlives the cache, as the host's does. */
class FakeService {
  public:
    std::optional<Account> ask(const AccountName &name) {
        std::unique_lock lock(mutex_);
        asked_.push_back(name.text());
        most_at_once_ = std::max(most_at_once_, ++at_once_[name]);
        changed_.wait(lock, [&] { return !silent_.contains(name); });
        at_once_[name]--;
        const auto answer = answers_.find(name);
        return answer == answers_.end() ? missing : answer->second;
    }
    void set(const AccountName &name, std::optional<Account> answer) {
        const std::lock_guard lock(mutex_);
        answers_[name] = answer;
    }
    void silence(const AccountName &name) {
        const std::lock_guard lock(mutex_);
        silent_.insert(name);
    }
    void speak() {
        const std::lock_guard lock(mutex_);
        silent_.clear();
        changed_.notify_all();
    }
    void speak(const AccountName &name) {
        const std::lock_guard lock(mutex_);
        silent_.erase(name);
        changed_.notify_all();
    }
    std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    /* Of one name. */
    int most_at_once() {
        const std::lock_guard lock(mutex_);
        return most_at_once_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<AccountName, std::optional<Account>> answers_;
    std::set<AccountName> silent_;
    std::vector<std::string> asked_;
    std::map<AccountName, int> at_once_;
    int most_at_once_ = 0;
};

class AccountCacheTest : public testing::Test {
  protected:
    ~AccountCacheTest() override { service->speak(); }
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }
    testing::AssertionResult until_asked(size_t times) {
        return until([this, times] { return service->asked().size() >= times; });
    }
    /* Has names looked up of which nothing is told. */
    void ask_in_vain(size_t names) {
        for (size_t i = 0; i < names; i++) {
            service->silence(user("far" + std::to_string(i)));
            cache->look_up(user("far" + std::to_string(i)));
        }
        ASSERT_TRUE(until_asked(std::min(names, at_a_time)));
    }
    testing::AssertionResult until_known(const AccountName &name, Account account) {
        return until([&] { return cache->find(name) == account; });
    }

    boost::asio::io_context io;
    std::shared_ptr<FakeService> service = std::make_shared<FakeService>();
    std::vector<std::string> heard;
    std::unique_ptr<AccountCache> cache = std::make_unique<AccountCache>(
        io, [this](const AccountName &name) { heard.push_back(name.text()); },
        [service = service](const AccountName &name) { return service->ask(name); });
};

TEST_F(AccountCacheTest, knows_a_name_when_it_has_been_looked_up) {
    service->set(user("qemu"), found(64));
    EXPECT_EQ(cache->find(user("qemu")), Account());
    cache->look_up(user("qemu"));
    EXPECT_TRUE(until_known(user("qemu"), found(64)));
    EXPECT_THAT(heard, ElementsAre("user qemu"));
}

TEST_F(AccountCacheTest, tells_that_there_is_no_account_of_a_name) {
    cache->look_up(user("qemu"));
    EXPECT_TRUE(until_known(user("qemu"), missing));
    EXPECT_THAT(heard, ElementsAre("user qemu"));
}

TEST_F(AccountCacheTest, takes_a_user_and_a_group_of_one_name_for_two) {
    service->set(user("kvm"), found(36));
    service->set(group("kvm"), found(104));
    cache->look_up(user("kvm"));
    cache->look_up(group("kvm"));
    EXPECT_TRUE(until_known(user("kvm"), found(36)));
    EXPECT_TRUE(until_known(group("kvm"), found(104)));
}

TEST_F(AccountCacheTest, asks_nobody_about_numbers) {
    EXPECT_EQ(cache->find(user("64")), found(64));
    EXPECT_EQ(cache->find(user("4294967295")), missing);
    cache->look_up(user("64"));
    cache->look_up(user("4294967295"));
    cache->look_up(user("qemu"));
    EXPECT_TRUE(until_known(user("qemu"), missing));
    EXPECT_THAT(service->asked(), ElementsAre("user qemu"));
}

TEST_F(AccountCacheTest, does_not_wait_for_one_name_to_tell_another) {
    service->silence(user("far"));
    service->set(user("near"), found(1));
    cache->look_up(user("far"));
    ASSERT_TRUE(until_asked(1));
    cache->look_up(user("near"));
    EXPECT_TRUE(until_known(user("near"), found(1)));
    EXPECT_EQ(cache->find(user("far")), Account());
}

TEST_F(AccountCacheTest, never_asks_twice_at_a_time_about_a_name) {
    service->silence(user("far"));
    for (int i = 0; i < 20; i++) {
        cache->look_up(user("far"));
    }
    ASSERT_TRUE(until_asked(1));
    service->speak();
    ASSERT_TRUE(until_asked(2));
    EXPECT_EQ(service->most_at_once(), 1);
}

TEST_F(AccountCacheTest, bounds_the_threads_of_a_name_service_that_stands_still) {
    constexpr size_t names = 200;
    ask_in_vain(names);
    io.poll();
    EXPECT_EQ(service->asked().size(), at_a_time);
    service->speak();
    EXPECT_TRUE(until([this] { return heard.size() == names; }));
}

TEST_F(AccountCacheTest, keeps_an_answer_until_there_is_another) {
    service->set(user("qemu"), found(64));
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_known(user("qemu"), found(64)));
    service->silence(user("qemu"));
    service->set(user("qemu"), found(65));
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_asked(2));
    EXPECT_EQ(cache->find(user("qemu")), found(64));
    service->speak();
    EXPECT_TRUE(until_known(user("qemu"), found(65)));
    EXPECT_THAT(heard, ElementsAre("user qemu", "user qemu"));
}

TEST_F(AccountCacheTest, keeps_an_answer_when_the_name_service_cannot_tell) {
    service->set(user("qemu"), found(64));
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_known(user("qemu"), found(64)));
    service->set(user("qemu"), std::nullopt);
    cache->refresh();
    ASSERT_TRUE(until_asked(2));
    service->set(user("qemu"), found(65));
    cache->refresh();
    EXPECT_TRUE(until_known(user("qemu"), found(65)));
    EXPECT_EQ(heard.size(), 2U);
}

TEST_F(AccountCacheTest, says_nothing_of_an_answer_that_is_as_before) {
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_known(user("qemu"), missing));
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_asked(2));
    service->set(user("qemu"), found(64));
    cache->look_up(user("qemu"));
    ASSERT_TRUE(until_known(user("qemu"), found(64)));
    EXPECT_EQ(heard.size(), 2U);
}

TEST_F(AccountCacheTest, drops_the_answer_for_a_name_that_is_forgotten) {
    ask_in_vain(at_a_time);
    cache->forget(user("far0"));
    cache->look_up(user("other"));
    service->speak(user("far0"));
    // Which is not asked about before that answer has come.
    ASSERT_TRUE(until_known(user("other"), missing));
    EXPECT_EQ(cache->find(user("far0")), Account());
    EXPECT_THAT(heard, ElementsAre("user other"));
}

TEST_F(AccountCacheTest, does_not_ask_for_names_that_were_forgotten_before_their_turn) {
    ask_in_vain(at_a_time);
    for (int i = 0; i < 100; i++) {
        const AccountName name = user("passing" + std::to_string(i));
        cache->look_up(name);
        cache->forget(name);
    }
    service->set(user("qemu"), found(64));
    cache->look_up(user("qemu"));
    service->speak();
    EXPECT_TRUE(until_known(user("qemu"), found(64)));
    EXPECT_EQ(service->asked().size(), at_a_time + 1);
}

TEST_F(AccountCacheTest, ends_without_waiting_for_the_name_service) {
    service->silence(user("far"));
    cache->look_up(user("far"));
    ASSERT_TRUE(until_asked(1));
    cache.reset();
    service->speak();
    io.restart();
    io.poll();
    EXPECT_THAT(heard, IsEmpty());
}

}  // namespace
}  // namespace vdpa::agent::config
