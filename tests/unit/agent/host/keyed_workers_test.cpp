// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/keyed_workers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;

constexpr std::chrono::seconds longest_wait{30};

class KeyedWorkersTest : public testing::Test {
  protected:
    using Keys = std::set<std::string>;

    /* A job that is at hand until it is let go. */
    class Held {
      public:
        std::function<void()> act() {
            return [this] {
                begun_.set_value();
                let_go_.get_future().wait();
            };
        }
        bool begins() {
            return begun_.get_future().wait_for(longest_wait) == std::future_status::ready;
        }
        void let_go() { let_go_.set_value(); }

      private:
        std::promise<void> begun_;
        std::promise<void> let_go_;
    };

    std::function<void()> note(const std::string &what) {
        return [this, what] {
            const std::lock_guard lock(mutex_);
            notes_.push_back(what);
            changed_.notify_all();
        };
    }
    /* What is noted, when there is so much of it or after a long time. */
    std::vector<std::string> notes(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, longest_wait, [&] { return notes_.size() >= count; });
        return notes_;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> notes_;
};

TEST_F(KeyedWorkersTest, carry_out_what_shares_a_key_in_the_order_in_which_it_is_added) {
    KeyedWorkers workers("test");
    Held first;
    workers.add({"a"}, first.act());
    std::vector<std::string> wanted;
    for (int i = 0; i < 50; i++) {
        wanted.push_back(std::to_string(i));
        workers.add({"a", "b" + std::to_string(i % 3)}, note(wanted.back()));
    }
    first.let_go();
    EXPECT_EQ(notes(50), wanted);
}

TEST_F(KeyedWorkersTest, do_not_let_a_slow_job_hold_up_another) {
    KeyedWorkers workers("test");
    Held one;
    Held other;
    workers.add({"a"}, one.act());
    workers.add({"b"}, other.act());
    EXPECT_TRUE(one.begins());
    EXPECT_TRUE(other.begins());
    workers.add({"a"}, note("a"));
    workers.add({"c"}, note("c"));
    workers.add({}, note("none"));
    EXPECT_THAT(notes(2), testing::UnorderedElementsAre("c", "none"));
    one.let_go();
    other.let_go();
    EXPECT_EQ(notes(3).back(), "a");
}

TEST_F(KeyedWorkersTest, let_no_job_pass_one_that_waits_for_a_key_of_both) {
    KeyedWorkers workers("test");
    Held held;
    workers.add({"a"}, held.act());
    ASSERT_TRUE(held.begins());
    workers.add({"a", "b"}, note("a b"));
    workers.add({"b", "c"}, note("b c"));
    workers.add({"c"}, note("c"));
    workers.add({"d"}, note("d"));
    EXPECT_THAT(notes(1), ElementsAre("d"));
    held.let_go();
    EXPECT_THAT(notes(4), ElementsAre("d", "a b", "b c", "c"));
}

TEST_F(KeyedWorkersTest, begin_all_that_waited_for_one_job) {
    KeyedWorkers workers("test");
    Held held;
    workers.add({"a", "b", "c"}, held.act());
    ASSERT_TRUE(held.begins());
    Held a;
    Held b;
    Held c;
    workers.add({"a"}, a.act());
    workers.add({"b"}, b.act());
    workers.add({"c"}, c.act());
    held.let_go();
    EXPECT_TRUE(a.begins() && b.begins() && c.begins());
    a.let_go();
    b.let_go();
    c.let_go();
}

TEST_F(KeyedWorkersTest, take_no_more_threads_than_they_need_and_may) {
    KeyedWorkers workers("test", 2);
    EXPECT_EQ(workers.threads(), 0U);
    for (int i = 0; i < 20; i++) {
        workers.add({"a"}, note("a"));
    }
    notes(20);
    EXPECT_EQ(workers.threads(), 1U);
    Held one;
    Held other;
    workers.add({"b"}, one.act());
    workers.add({"c"}, other.act());
    ASSERT_TRUE(one.begins());
    ASSERT_TRUE(other.begins());
    workers.add({"d"}, note("d"));
    EXPECT_EQ(workers.threads(), 2U);
    one.let_go();
    EXPECT_EQ(notes(21).back(), "d");
    other.let_go();
}

TEST_F(KeyedWorkersTest, finish_the_jobs_at_hand_before_they_end) {
    std::atomic<bool> done{false};
    Held held;
    auto workers = std::make_unique<KeyedWorkers>("test");
    workers->add({"a"}, [&done, act = held.act()] {
        act();
        done = true;
    });
    ASSERT_TRUE(held.begins());
    std::thread ending([&workers] { workers.reset(); });
    held.let_go();
    ending.join();
    EXPECT_TRUE(done);
}

TEST_F(KeyedWorkersTest, carry_out_each_of_many_jobs_once_and_never_two_with_a_key) {
    std::array<std::atomic<int>, 8> at_hand{};
    std::atomic<int> count{0};
    {
        KeyedWorkers workers("test", 4);
        for (size_t i = 0; i < 2000; i++) {
            const size_t one = i % 8;
            const size_t other = (i * 5 + 3) % 8;
            workers.add({std::to_string(one), std::to_string(other)}, [&, one, other] {
                EXPECT_EQ(at_hand[one]++, 0);
                if (other != one) {
                    EXPECT_EQ(at_hand[other]++, 0);
                    at_hand[other]--;
                }
                at_hand[one]--;
                count++;
            });
        }
        std::promise<void> all;
        workers.add({"0", "1", "2", "3", "4", "5", "6", "7"}, [&all] { all.set_value(); });
        ASSERT_EQ(all.get_future().wait_for(longest_wait), std::future_status::ready);
    }
    EXPECT_EQ(count, 2000);
}

}  // namespace
}  // namespace vdpa::agent::host
