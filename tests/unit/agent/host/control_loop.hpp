// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace vdpa::agent::host {

/* The thread of the test in the part of the control thread: answers are noted as they come. */
class ControlLoop {
  public:
    boost::asio::io_context &io() { return io_; }

    /* An answer that has to be a success. */
    auto note(const std::string &what) {
        return [this, what, thread = std::this_thread::get_id()](const auto &result) {
            EXPECT_EQ(std::this_thread::get_id(), thread) << "not on the control thread";
            EXPECT_TRUE(result) << what << ": " << (result ? "" : result.error().detail);
            answers_.push_back(what);
        };
    }
    /* One that has to be a failure. */
    auto note_failure(const std::string &what) {
        return [this, what](const auto &result) {
            EXPECT_FALSE(result) << what;
            answers_.push_back(what + ": " + (result ? "" : result.error().detail));
        };
    }
    /* The answers, when there are so many or after a long time. */
    const std::vector<std::string> &answers(size_t count) {
        io_.restart();
        const auto work = boost::asio::make_work_guard(io_);
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (answers_.size() < count && std::chrono::steady_clock::now() < end) {
            io_.run_one_for(std::chrono::milliseconds(100));
        }
        return answers_;
    }

  private:
    boost::asio::io_context io_;
    std::vector<std::string> answers_;
};

}  // namespace vdpa::agent::host
