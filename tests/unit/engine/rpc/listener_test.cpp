// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/listener.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::rpc {
namespace {

using test::bind_unix;
using test::connect_unix;
using test::TemporaryFolder;
using testing::HasSubstr;

mode_t mode_of(const std::string &path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode : 0;
}

TEST(Listener, AcceptsAtItsPathWithMode0600WhateverTheUmask) {
    const TemporaryFolder folder;
    const mode_t before = ::umask(0);
    const auto listener = Listener::open(folder / "rpc");
    EXPECT_EQ(::umask(before), 0U) << "the umask was not put back";
    ASSERT_TRUE(listener.has_value()) << listener.error().detail;
    EXPECT_EQ(mode_of(folder / "rpc"), S_IFSOCK | 0600U);
    EXPECT_TRUE(connect_unix(folder / "rpc"));
}

TEST(Listener, RemovesItsSocketAndLockAtTheEnd) {
    const TemporaryFolder folder;
    { ASSERT_TRUE(Listener::open(folder / "rpc").has_value()); }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Listener, ReplacesASocketThatADeadEngineLeft) {
    const TemporaryFolder folder;
    bind_unix(folder / "rpc", true).reset();
    ASSERT_EQ(mode_of(folder / "rpc") & S_IFMT, mode_t{S_IFSOCK});
    const auto listener = Listener::open(folder / "rpc");
    ASSERT_TRUE(listener.has_value()) << listener.error().detail;
    EXPECT_TRUE(connect_unix(folder / "rpc"));
}

TEST(Listener, ASecondOneOnTheSamePathIsRefusedAndTheFirstGoesOn) {
    const TemporaryFolder folder;
    const auto first = Listener::open(folder / "rpc");
    ASSERT_TRUE(first.has_value());
    const auto second = Listener::open(folder / "rpc");
    ASSERT_FALSE(second.has_value());
    EXPECT_THAT(second.error().detail, HasSubstr("another engine"));
    EXPECT_TRUE(std::filesystem::exists(folder / "rpc.lock")) << "it is the first one's";
    EXPECT_TRUE(connect_unix(folder / "rpc"));
}

TEST(Listener, DoesNotTakeOverASocketThatAForeignProcessListensOn) {
    const TemporaryFolder folder;
    const UniqueFd foreign = bind_unix(folder / "rpc", true);
    const auto listener = Listener::open(folder / "rpc");
    ASSERT_FALSE(listener.has_value());
    EXPECT_TRUE(connect_unix(folder / "rpc"));
    EXPECT_FALSE(std::filesystem::exists(folder / "rpc.lock"));
}

TEST(Listener, KeepsARegularFile) {
    const TemporaryFolder folder;
    std::ofstream(folder / "rpc") << "precious";
    ASSERT_FALSE(Listener::open(folder / "rpc").has_value());
    EXPECT_EQ(std::filesystem::file_size(folder / "rpc"), 8U);
    EXPECT_FALSE(std::filesystem::exists(folder / "rpc.lock"));
}

TEST(Listener, LeavesWhatStandsAtItsPathNowToWhoeverPutItThere) {
    const TemporaryFolder folder;
    {
        const auto listener = Listener::open(folder / "rpc");
        ASSERT_TRUE(listener.has_value());
        ::unlink((folder / "rpc").c_str());
        std::ofstream(folder / "rpc") << "somebody else's";
    }
    EXPECT_TRUE(std::filesystem::exists(folder / "rpc"));
}

TEST(Listener, APathThatASocketAddressCannotHoldIsRefused) {
    const TemporaryFolder folder;
    EXPECT_FALSE(Listener::open(folder / std::string(108, 'x')).has_value());
}

}  // namespace
}  // namespace vdpa::engine::rpc
