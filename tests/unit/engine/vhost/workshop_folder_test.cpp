// SPDX-License-Identifier: Apache-2.0
// The folders in which sockets are made: those that are kept, and those that were left behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "engine/vhost/socket_file.hpp"
#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::engine::vhost {
namespace {

using test::bind_unix;
using test::connect_unix;
using test::TemporaryFolder;

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
        schema::SocketSpec spec;
        spec.path = folder / name;
        spec.perms = 0660;
        EXPECT_TRUE(workshop->publish(spec));
        struct stat status {};
        EXPECT_EQ(::lstat((folder / ("." + std::string(name) + ".vdpa")).c_str(), &status), 0);
        return status.st_ino;
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

}  // namespace
}  // namespace vdpa::engine::vhost
