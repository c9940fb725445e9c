// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>

namespace vdpa::agent {

/* Runs what is due on `io` until the condition is met, for at most some seconds. */
inline testing::AssertionResult run_until(boost::asio::io_context &io,
                                          const std::function<bool()> &condition) {
    constexpr std::chrono::seconds longest_wait{20};
    const auto end = std::chrono::steady_clock::now() + longest_wait;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return testing::AssertionFailure() << "has not come about";
        }
        io.restart();
        io.run_one_for(std::chrono::milliseconds(100));
    }
    return testing::AssertionSuccess();
}

}  // namespace vdpa::agent
