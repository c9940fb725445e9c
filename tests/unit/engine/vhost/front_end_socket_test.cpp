// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/front_end_socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::vhost {
namespace {

using schema::SocketMode;
using test::bind_unix;
using test::connect_unix;
using test::TemporaryFolder;

class FrontEndSocketTest : public testing::Test {
  protected:
    UniqueFd accept() { return UniqueFd(::accept(listener.get(), nullptr, nullptr)); }
    /* At the end of its stream. */
    static bool at_end(const UniqueFd &fd) {
        char byte = 0;
        return ::recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0;
    }

    TemporaryFolder folder;
    const std::string path = folder / "s";
    UniqueFd listener = bind_unix(path, true);
};

TEST_F(FrontEndSocketTest, FindsAnAcceptedConnection) {
    EXPECT_FALSE(FrontEndSocket::find(path, SocketMode::server)) << "the listener is none";
    const UniqueFd front_end = connect_unix(path);
    UniqueFd accepted = accept();
    FrontEndSocket found = FrontEndSocket::find(path, SocketMode::server);
    ASSERT_TRUE(found);
    accepted.reset();
    EXPECT_FALSE(at_end(front_end)) << "found another";
    found.hang_up();
    EXPECT_TRUE(at_end(front_end));
}

TEST_F(FrontEndSocketTest, FindsAConnectionThatWasMade) {
    UniqueFd connected = connect_unix(path);
    const UniqueFd front_end = accept();
    connected.reset(::fcntl(connected.get(), F_DUPFD, 200));  // above free numbers
    const FrontEndSocket found = FrontEndSocket::find(path, SocketMode::client);
    ASSERT_TRUE(found);
    found.hang_up();
    EXPECT_TRUE(at_end(front_end));
    EXPECT_TRUE(at_end(connected));
}

TEST_F(FrontEndSocketTest, FindsItsOwnEndWhereTheOtherIsInTheSameProcess) {
    for (const bool other_is_above : {false, true}) {
        UniqueFd connected = connect_unix(path);
        UniqueFd accepted = accept();
        connected.reset(::fcntl(connected.get(), F_DUPFD, other_is_above ? 300 : 200));
        accepted.reset(::fcntl(accepted.get(), F_DUPFD, other_is_above ? 200 : 300));
        for (const SocketMode mode : {SocketMode::server, SocketMode::client}) {
            const FrontEndSocket found = FrontEndSocket::find(path, mode);
            ASSERT_TRUE(found);
            EXPECT_FALSE(found.has_ended());
            const UniqueFd &other = mode == SocketMode::server ? connected : accepted;
            EXPECT_EQ(::shutdown(other.get(), SHUT_WR), 0);
            EXPECT_TRUE(found.has_ended()) << "it is the end that was shut";
        }
    }
}

TEST_F(FrontEndSocketTest, FindsTheOtherOneOfTwo) {
    for (const int earlier_fd : {100, 200}) {  // whichever is looked at first
        const UniqueFd first = connect_unix(path);
        const UniqueFd earlier(::fcntl(accept().get(), F_DUPFD, earlier_fd));
        const FrontEndSocket other = FrontEndSocket::find(path, SocketMode::server);
        const UniqueFd second = connect_unix(path);
        const UniqueFd later(::fcntl(accept().get(), F_DUPFD, 150));
        const FrontEndSocket found = FrontEndSocket::find(path, SocketMode::server, other);
        ASSERT_TRUE(found);
        found.hang_up();
        EXPECT_TRUE(at_end(second));
        EXPECT_FALSE(at_end(first));
    }
}

TEST_F(FrontEndSocketTest, FindsNoConnectionOfAnotherPath) {
    const UniqueFd front_end = connect_unix(path);
    const UniqueFd accepted = accept();
    EXPECT_FALSE(FrontEndSocket::find(folder / "t", SocketMode::server));
    EXPECT_FALSE(FrontEndSocket::find("", SocketMode::server));
    const FrontEndSocket none;
    none.limit_waits();
    none.hang_up();
    EXPECT_FALSE(at_end(front_end));
}

TEST_F(FrontEndSocketTest, AReaderWaitsNoLongerThanTheLimit) {
    const UniqueFd front_end = connect_unix(path);
    const UniqueFd accepted = accept();
    FrontEndSocket::find(path, SocketMode::server).limit_waits();
    char byte = 0;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(::recv(accepted.get(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(FrontEndSocketTest, AWriterWaitsNoLongerThanTheLimit) {
    const UniqueFd front_end = connect_unix(path);
    const UniqueFd accepted = accept();
    FrontEndSocket::find(path, SocketMode::server).limit_waits();
    const std::vector<char> block(1 << 16);
    ssize_t sent = 0;
    do {
        sent = ::send(accepted.get(), block.data(), block.size(), MSG_NOSIGNAL);
    } while (sent > 0);
    EXPECT_EQ(errno, EAGAIN);
}

}  // namespace
}  // namespace vdpa::engine::vhost
