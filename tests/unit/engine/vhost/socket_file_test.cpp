// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/socket_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
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

class LeftFolderTest : public testing::Test {
  protected:
    void leave(const std::string &name,
               std::filesystem::perms perms = std::filesystem::perms::owner_all) const {
        std::filesystem::create_directory(folder / name);
        std::filesystem::permissions(folder / name, perms);
    }
    bool is_there(const std::string &name) const {
        return std::filesystem::exists(std::filesystem::symlink_status(folder / name));
    }
    void make(const std::string &name) {
        const auto workshop = SocketWorkshop::open(folder / name, &kept);
        ASSERT_TRUE(workshop) << workshop.error().detail;
    }

    const TemporaryFolder folder;
    KeptFolder kept;
};

TEST_F(LeftFolderTest, AnEmptyOneOfAnotherSocketIsRemovedAtTheFirst) {
    leave(".gone.vdpa");
    leave(".gone too.vdpa");
    make("s");
    EXPECT_FALSE(is_there(".gone.vdpa"));
    EXPECT_FALSE(is_there(".gone too.vdpa"));
}

TEST_F(LeftFolderTest, WhatIsNotOurLeavingsStays) {
    leave(".full.vdpa");
    std::ofstream(folder / ".full.vdpa/file") << "x";
    leave(".open-to-others.vdpa", std::filesystem::perms::all);
    leave("no-dot.vdpa");
    leave(".vdpa");
    leave(".name.vdpa2");
    std::ofstream(folder / ".file.vdpa") << "x";
    leave("elsewhere");
    std::filesystem::create_symlink(folder / "elsewhere", folder / ".link.vdpa");
    leave(".anothers.vdpa");
    const bool is_anothers = ::chown((folder / ".anothers.vdpa").c_str(), 12345, 12345) == 0;
    make("s");
    for (const char *name : {".full.vdpa", ".full.vdpa/file", ".open-to-others.vdpa", "no-dot.vdpa",
                             ".vdpa", ".name.vdpa2", ".file.vdpa", "elsewhere", ".link.vdpa"}) {
        EXPECT_TRUE(is_there(name)) << name;
    }
    EXPECT_EQ(is_there(".anothers.vdpa"), is_anothers);
}

TEST_F(LeftFolderTest, OneThatAnotherEngineUsesStays) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    UniqueFd go_ahead(pipe[1]);
    const UniqueFd told(pipe[0]);
    // The other engine, which has not been here yet.
    const pid_t other = ::fork();
    ASSERT_GE(other, 0);
    if (other == 0) {
        go_ahead.reset();
        char byte = 0;
        [[maybe_unused]] const ssize_t end = ::read(told.get(), &byte, 1);
        ::_exit(SocketWorkshop::open(folder / "other", &kept) ? 0 : 1);
    }
    const auto at_work = SocketWorkshop::open(folder / "a");
    ASSERT_TRUE(at_work) << at_work.error().detail;
    make("b");
    leave(".gone.vdpa");
    go_ahead.reset();
    int status = -1;
    ASSERT_EQ(::waitpid(other, &status, 0), other);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(is_there(".gone.vdpa")) << "it did not look";
    EXPECT_TRUE(is_there(".a.vdpa"));
    EXPECT_TRUE(is_there(".b.vdpa"));
}

class KeptFolderTest : public testing::Test {
  protected:
    ino_t open_for(const char *name) {
        const auto workshop = SocketWorkshop::open(folder / name, &kept);
        EXPECT_TRUE(workshop) << workshop.error().detail;
        listeners.push_back(bind_unix(workshop->bind_path(), true));
        EXPECT_TRUE(listeners.back());
        EXPECT_TRUE(workshop->publish(spec_of(folder / name)));
        return status_of(folder / ("." + std::string(name) + ".vdpa")).st_ino;
    }
    /* Names beside the sockets. */
    std::set<std::string> folders() const {
        std::set<std::string> names;
        for (const auto &entry : std::filesystem::directory_iterator(folder.path())) {
            if (entry.is_directory()) {
                names.insert(entry.path().filename());
            }
        }
        return names;
    }

    const TemporaryFolder folder;
    KeptFolder kept;
    std::vector<UniqueFd> listeners;
};

TEST_F(KeptFolderTest, ServesOneWorkshopAfterTheOther) {
    const ino_t first = open_for("a");
    EXPECT_EQ(open_for("b"), first);
    EXPECT_EQ(open_for("c"), first);
    EXPECT_EQ(folders(), std::set<std::string>{".c.vdpa"});
    EXPECT_TRUE(connect_unix(folder / "a"));
    EXPECT_TRUE(connect_unix(folder / "c"));
    kept.remove_if_idle();
    EXPECT_EQ(open_for("d"), first) << "it was not idle";
    kept.remove_if_idle();
    kept.remove_if_idle();
    EXPECT_TRUE(folders().empty());
    open_for("e");
    kept.remove();
    EXPECT_TRUE(folders().empty());
}

TEST_F(KeptFolderTest, MayBeRemovedByOthersOrBeInTheWay) {
    open_for("a");
    std::filesystem::remove(folder / ".a.vdpa");
    open_for("b");
    // What an engine left that was killed.
    std::filesystem::create_directory(folder / ".c.vdpa");
    std::filesystem::permissions(folder / ".c.vdpa", std::filesystem::perms::owner_all);
    bind_unix(folder / ".c.vdpa/c.17", true).reset();
    open_for("c");
    EXPECT_EQ(folders(), std::set<std::string>{".c.vdpa"});
    kept.remove();
    EXPECT_TRUE(folders().empty());
}

TEST_F(KeptFolderTest, DoesNotGoToAnotherPlace) {
    std::filesystem::create_directory(folder / "place");
    open_for("a");
    {
        const auto workshop = SocketWorkshop::open(folder / "place/b", &kept);
        ASSERT_TRUE(workshop) << workshop.error().detail;
        EXPECT_TRUE(std::filesystem::exists(folder / "place/.b.vdpa"));
    }
    EXPECT_EQ(folders(), std::set<std::string>{"place"});
    kept.remove();
    EXPECT_TRUE(std::filesystem::is_empty(folder / "place"));
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
