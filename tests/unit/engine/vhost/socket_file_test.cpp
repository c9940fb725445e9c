// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/socket_file.hpp"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::vhost {
namespace {

using schema::Reason;
using test::bind_unix;
using test::connect_unix;
using test::TemporaryFolder;

struct stat status_of(const std::string &path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status;
}

schema::SocketSpec spec_of(const std::string &path, uint32_t perms = 0660) {
    schema::SocketSpec spec;
    spec.path = path;
    spec.perms = perms;
    return spec;
}

/* What a port does: binds in the workshop, publishes. The listener is given out. */
Expected<SocketFile> make_socket(const schema::SocketSpec &spec, UniqueFd &listener,
                                 const SocketFile *own = nullptr) {
    auto workshop = SocketWorkshop::open(spec.path);
    if (!workshop) {
        return tl::make_unexpected(workshop.error());
    }
    listener = bind_unix(workshop->bind_path(), true);
    EXPECT_TRUE(listener);
    return workshop->publish(spec, own);
}

TEST(RemoveDeadSocket, RemovesADeadOneAndNothingElse) {
    const TemporaryFolder folder;
    EXPECT_TRUE(remove_dead_socket(folder / "none"));
    EXPECT_TRUE(remove_dead_socket(folder / "no_folder/s"));
    bind_unix(folder / "dead", true).reset();
    EXPECT_TRUE(remove_dead_socket(folder / "dead"));
    EXPECT_FALSE(std::filesystem::exists(folder / "dead"));
    const UniqueFd listener = bind_unix(folder / "alive", true);
    EXPECT_TRUE(remove_dead_socket(folder / "alive"));
    EXPECT_TRUE(std::filesystem::exists(folder / "alive"));
    std::ofstream(folder / "file") << "precious";
    EXPECT_TRUE(remove_dead_socket(folder / "file"));
    EXPECT_TRUE(std::filesystem::exists(folder / "file"));
}

TEST(RemoveDeadSocket, SaysWhyItCannot) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root, to become somebody who may not write to the folder";
    }
    const TemporaryFolder folder;
    std::filesystem::permissions(folder / "", std::filesystem::perms{0755});
    bind_unix(folder / "dead", true).reset();
    std::filesystem::permissions(folder / "dead", std::filesystem::perms{0777});
    constexpr uid_t nobody = 65534;
    ASSERT_EQ(::seteuid(nobody), 0);
    const auto removed = remove_dead_socket(folder / "dead");
    ASSERT_EQ(::seteuid(0), 0);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().reason, Reason::socket_failed);
    EXPECT_NE(removed.error().detail.find(folder.path()), std::string::npos)
        << removed.error().detail;
    EXPECT_TRUE(std::filesystem::exists(folder / "dead"));
}

TEST(CheckServerPath, AFreePathAndADeadSocketAreFine) {
    const TemporaryFolder folder;
    EXPECT_TRUE(check_server_path(folder / "s").has_value());
    bind_unix(folder / "s", true).reset();
    EXPECT_TRUE(check_server_path(folder / "s").has_value());
    EXPECT_TRUE(std::filesystem::exists(folder / "s")) << "a check changes nothing";
}

TEST(CheckServerPath, AMissingFolderHasItsReason) {
    const TemporaryFolder folder;
    const auto result = check_server_path(folder / "no/s");
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().reason, Reason::socket_dir_missing);
    EXPECT_NE(result.error().detail.find(folder / "no"), std::string::npos);
}

TEST(CheckServerPath, AFileAFolderAndASymbolicLinkOccupyThePath) {
    const TemporaryFolder folder;
    std::ofstream(folder / "file") << "x";
    std::filesystem::create_directory(folder / "folder");
    std::filesystem::create_symlink("file", folder / "link");
    for (const char *name : {"file", "folder", "link"}) {
        const auto result = check_server_path(folder / name);
        ASSERT_FALSE(result.has_value()) << name;
        EXPECT_EQ(result.error().reason, Reason::socket_path_occupied) << name;
    }
}

TEST(CheckServerPath, AListenerKeepsItsSocket) {
    const TemporaryFolder folder;
    const UniqueFd listener = bind_unix(folder / "s", true);
    const auto result = check_server_path(folder / "s");
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().reason, Reason::socket_in_use);
}

TEST(CheckServerPath, ASocketOfAnotherTypeIsNotTakenForDead) {
    const TemporaryFolder folder;
    const UniqueFd datagram = bind_unix(folder / "s", false, SOCK_DGRAM);
    const auto result = check_server_path(folder / "s");
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().reason, Reason::socket_in_use);
}

TEST(CheckClientPath, NothingThereIsNoError) {
    const TemporaryFolder folder;
    EXPECT_TRUE(check_client_path(folder / "s").has_value());
    EXPECT_TRUE(check_client_path(folder / "no/s").has_value());
}

TEST(SocketWorkshop, PublishesASocketThatAcceptsAndLeavesNothingElse) {
    const TemporaryFolder folder;
    UniqueFd listener;
    const auto file = make_socket(spec_of(folder / "s"), listener);
    ASSERT_TRUE(file.has_value()) << file.error().detail;
    EXPECT_TRUE(connect_unix(folder / "s"));
    EXPECT_TRUE(file->still_ours());
    const auto entries = std::filesystem::directory_iterator(folder.path());
    EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(SocketWorkshop, GivesTheSocketItsOwnerAndPermissions) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root may give files away";
    }
    const TemporaryFolder folder;
    schema::SocketSpec spec = spec_of(folder / "s", 0602);
    spec.uid = 12345;
    spec.gid = 23456;
    UniqueFd listener;
    ASSERT_TRUE(make_socket(spec, listener).has_value());
    const struct stat status = status_of(folder / "s");
    EXPECT_EQ(status.st_mode, S_IFSOCK | 0602U);
    EXPECT_EQ(status.st_uid, 12345U);
    EXPECT_EQ(status.st_gid, 23456U);
}

TEST(SocketWorkshop, TheFinalPathSeesOneMoveOfTheFinishedSocketAndNothingElse) {
    const TemporaryFolder folder;
    const UniqueFd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_GE(::inotify_add_watch(watch.get(), folder.path().c_str(), IN_ALL_EVENTS), 0);
    UniqueFd listener;
    ASSERT_TRUE(make_socket(spec_of(folder / "s", 0600), listener).has_value());

    std::vector<uint32_t> events_at_path;
    alignas(inotify_event) std::array<char, 16384> buffer{};
    const ssize_t length = ::read(watch.get(), buffer.data(), buffer.size());
    ASSERT_GT(length, 0);
    for (ssize_t at = 0; at < length;) {
        const auto *event = reinterpret_cast<const inotify_event *>(buffer.data() + at);
        if (event->len > 0 && std::string(event->name) == "s") {
            events_at_path.push_back(event->mask);
        }
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
    EXPECT_EQ(events_at_path, std::vector<uint32_t>{IN_MOVED_TO});
}

TEST(SocketWorkshop, NobodyElseMayEnterWhereTheSocketIsMade) {
    const TemporaryFolder folder;
    const auto workshop = SocketWorkshop::open(folder / "s");
    ASSERT_TRUE(workshop.has_value());
    EXPECT_EQ(status_of(folder / ".s.vdpa").st_mode, S_IFDIR | 0700U);
}

TEST(SocketWorkshop, TheLongestPathFitsASocketAddress) {
    const TemporaryFolder folder;
    const std::string path = folder / std::string(107 - folder.path().size() - 1, 'p');
    ASSERT_EQ(path.size(), 107U);
    UniqueFd listener;
    ASSERT_TRUE(make_socket(spec_of(path), listener).has_value());
    EXPECT_TRUE(connect_unix(path));
}

TEST(SocketWorkshop, ReplacesADeadSocket) {
    const TemporaryFolder folder;
    bind_unix(folder / "s", true).reset();
    UniqueFd listener;
    ASSERT_TRUE(make_socket(spec_of(folder / "s"), listener).has_value());
    EXPECT_TRUE(connect_unix(folder / "s"));
}

TEST(SocketWorkshop, ReplacesOurOwnSocketThatListens) {
    const TemporaryFolder folder;
    UniqueFd first;
    const auto own = make_socket(spec_of(folder / "s"), first);
    ASSERT_TRUE(own.has_value());
    UniqueFd second;
    const auto file = make_socket(spec_of(folder / "s"), second, &*own);
    ASSERT_TRUE(file.has_value()) << file.error().detail;
    EXPECT_FALSE(own->still_ours());
    EXPECT_TRUE(file->still_ours());
}

TEST(SocketWorkshop, WhatAppearsAtThePathInTheMeantimeStays) {
    const TemporaryFolder folder;
    const auto workshop = SocketWorkshop::open(folder / "s");
    ASSERT_TRUE(workshop.has_value());
    const UniqueFd ours = bind_unix(workshop->bind_path(), true);
    const UniqueFd foreign = bind_unix(folder / "s", true);
    const ino_t inode = status_of(folder / "s").st_ino;
    const auto file = workshop->publish(spec_of(folder / "s"));
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(file.error().reason, Reason::socket_in_use);
    EXPECT_EQ(status_of(folder / "s").st_ino, inode);
}

TEST(SocketWorkshop, ClearsUpWhatAnEngineLeftThatWasKilledAtWork) {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / ".s.vdpa");
    std::filesystem::permissions(folder / ".s.vdpa", std::filesystem::perms::owner_all);
    bind_unix(folder / ".s.vdpa/s.17", true).reset();
    UniqueFd listener;
    ASSERT_TRUE(make_socket(spec_of(folder / "s"), listener).has_value());
    EXPECT_FALSE(std::filesystem::exists(folder / ".s.vdpa"));
}

TEST(SocketWorkshop, DoesNotWorkInAFolderThatOthersMayEnter) {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / ".s.vdpa");
    std::filesystem::permissions(folder / ".s.vdpa", std::filesystem::perms::all);
    std::ofstream(folder / ".s.vdpa/file") << "x";
    const auto workshop = SocketWorkshop::open(folder / "s");
    ASSERT_FALSE(workshop.has_value());
    EXPECT_EQ(workshop.error().reason, Reason::socket_failed);
    EXPECT_TRUE(std::filesystem::exists(folder / ".s.vdpa/file"));
}

TEST(SocketFile, ChangesPermissionsInPlace) {
    const TemporaryFolder folder;
    UniqueFd listener;
    const auto file = make_socket(spec_of(folder / "s", 0600), listener);
    ASSERT_TRUE(file.has_value());
    const ino_t inode = status_of(folder / "s").st_ino;
    ASSERT_TRUE(file->set_attributes(spec_of(folder / "s", 0666)).has_value());
    EXPECT_EQ(status_of(folder / "s").st_mode, S_IFSOCK | 0666U);
    EXPECT_EQ(status_of(folder / "s").st_ino, inode);
}

TEST(SocketFile, NeitherChangesNorRemovesWhatIsNotOurs) {
    const TemporaryFolder folder;
    UniqueFd listener;
    const auto file = make_socket(spec_of(folder / "s"), listener);
    ASSERT_TRUE(file.has_value());
    std::filesystem::remove(folder / "s");
    std::ofstream(folder / "s") << "somebody else's";
    const mode_t mode = status_of(folder / "s").st_mode;
    EXPECT_FALSE(file->set_attributes(spec_of(folder / "s", 0777)).has_value());
    file->remove();
    EXPECT_EQ(status_of(folder / "s").st_mode, mode);
}

}  // namespace
}  // namespace vdpa::engine::vhost
