// SPDX-License-Identifier: Apache-2.0
#include "engine/ticker.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>

namespace vdpa::engine {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds interval{1};
constexpr std::chrono::seconds bound{10};

TEST(Ticker, TicksUntilItStopsItself) {
    boost::asio::io_context context;
    int ticks = 0;
    Ticker *self = nullptr;
    Ticker ticker(context, interval, [&] {
        if (++ticks == 3) {
            self->stop();
        }
    });
    self = &ticker;
    ticker.start();
    context.run_for(bound);
    EXPECT_EQ(ticks, 3);
    EXPECT_TRUE(context.stopped()) << "nothing is left to do, but the context did not end";
}

TEST(Ticker, LeavesTheContextNothingToDoWhenItsTimeWasUpAlready) {
    boost::asio::io_context context;
    int ticks = 0;
    Ticker ticker(context, interval, [&] { ++ticks; });
    ticker.start();
    // In one round the context finds the posted function and, the time being over, the call of the
    // ticker, in that order: stop() comes when there is no timer left to cancel.
    boost::asio::post(context, [&] { ticker.stop(); });
    const auto expired = steady_clock::now() + interval;
    while (steady_clock::now() <= expired) {
    }
    context.run_for(bound);
    EXPECT_EQ(ticks, 0);
    EXPECT_TRUE(context.stopped()) << "the ticker goes on";
}

TEST(Ticker, MayEndWhileItsCallWaits) {
    boost::asio::io_context context;
    int ticks = 0;
    {
        Ticker ticker(context, interval, [&] { ++ticks; });
        ticker.start();
    }
    context.run_for(bound);
    EXPECT_EQ(ticks, 0);
    EXPECT_TRUE(context.stopped());
}

}  // namespace
}  // namespace vdpa::engine
