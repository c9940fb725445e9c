// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/call.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace vdpa::engine::relay {
namespace {

constexpr uint64_t full = UINT64_MAX - 1;
constexpr std::chrono::seconds bound{10};

uint64_t count_of(const UniqueFd &fd) {
    uint64_t count = 0;
    EXPECT_EQ(::read(fd.get(), &count, sizeof(count)), ssize_t{sizeof(count)});
    return count;
}

/* Runs `act`, and frees the eventfd if that does not return. */
template <typename Act>
bool returns(const UniqueFd &fd, Act act) {
    std::atomic<bool> done{false};
    std::thread thread([&] {
        act();
        done = true;
    });
    const auto end = std::chrono::steady_clock::now() + bound;
    while (!done && std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    const bool returned = done;
    while (!done) {
        count_of(fd);
    }
    thread.join();
    return returned;
}

TEST(Call, AddsOneToAnEventfd) {
    Caller caller;
    ASSERT_TRUE(caller.open());
    const UniqueFd fd(::eventfd(0, 0));
    const CallDescriptor call(fd.get(), caller);
    ASSERT_TRUE(call);
    EXPECT_TRUE(call.call());
    EXPECT_TRUE(call.call());
    EXPECT_EQ(count_of(fd), 2U);
}

TEST(Call, DoesNotWaitForAFullBlockingEventfd) {
    Caller caller;
    ASSERT_TRUE(caller.open());
    const UniqueFd fd(::eventfd(0, 0));
    const CallDescriptor call(fd.get(), caller);
    ASSERT_EQ(::write(fd.get(), &full, sizeof(full)), ssize_t{sizeof(full)});
    EXPECT_TRUE(returns(fd, [&] {
        call.call();
        call.call();
    }));
    EXPECT_GE(count_of(fd), full);
    EXPECT_EQ(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK, 0) << "the front-end's flags were changed";
}

TEST(Call, GoesOnForLongerThanResultsAreKept) {
    Caller caller;
    ASSERT_TRUE(caller.open());
    const UniqueFd fd(::eventfd(0, 0));
    const CallDescriptor call(fd.get(), caller);
    constexpr unsigned calls = 5000;
    for (unsigned n = 0; n < calls; n++) {
        ASSERT_TRUE(call.call()) << n;
    }
    EXPECT_EQ(count_of(fd), calls);
}

TEST(Call, WithoutAsynchronousInputAndOutputTheEventfdIsMadeNonBlocking) {
    Caller caller;
    const UniqueFd fd(::eventfd(0, 0));
    const CallDescriptor call(fd.get(), caller);
    EXPECT_TRUE(call.call());
    EXPECT_EQ(count_of(fd), 1U);
    ASSERT_EQ(::write(fd.get(), &full, sizeof(full)), ssize_t{sizeof(full)});
    EXPECT_FALSE(call.call());
}

TEST(Call, DoesNotWaitForAFullSocket) {
    Caller caller;
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    const CallDescriptor call(ours.get(), caller);
    ASSERT_TRUE(call);
    EXPECT_TRUE(call.call());
    uint64_t got = 0;
    EXPECT_EQ(::recv(theirs.get(), &got, sizeof(got), 0), ssize_t{sizeof(got)});
    while (call.call()) {  // until nothing more goes in
    }
    EXPECT_FALSE(call.call());
}

TEST(Call, TakesNothingElse) {
    Caller caller;
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    const UniqueFd internet(::socket(AF_INET, SOCK_DGRAM, 0));
    const UniqueFd null(::open("/dev/null", O_RDWR));
    for (const int fd : {-1, writer.get(), internet.get(), null.get()}) {
        const CallDescriptor call(fd, caller);
        EXPECT_FALSE(call) << fd;
        EXPECT_FALSE(call.call());
    }
}

TEST(Call, AFileCannotPassForAnEventfd) {
    const std::string folder = testing::TempDir();
    const std::string path = folder + "anon_inode:[eventfd]";
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
    ASSERT_TRUE(file);
    EXPECT_FALSE(is_eventfd(file.get()));
    ::unlink(path.c_str());
}

}  // namespace
}  // namespace vdpa::engine::relay
