// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/node_watch.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/unit/engine/temporary_folder.hpp"

namespace vdpa::engine::kernel {
namespace {

using namespace std::chrono_literals;

constexpr auto bound = 10s;

class NodeWatchTest : public testing::Test {
  protected:
    /* A file instead of a device node, which takes privileges to make. */
    std::string make(const std::string &name) {
        std::string path = folder_ / name;
        std::ofstream(path) << name;
        return path;
    }

    static struct stat identity(const std::string &path) {
        struct stat node {};
        EXPECT_EQ(::stat(path.c_str(), &node), 0);
        return node;
    }

    test::TemporaryFolder folder_;
};

/* Told once, and can be waited for. */
class Told {
  public:
    std::function<void()> callback() {
        return [this] {
            ++count_;
            promise_.set_value();
        };
    }
    bool wait() { return future_.wait_for(bound) == std::future_status::ready; }
    int count() const { return count_; }

  private:
    std::atomic<int> count_ = 0;
    std::promise<void> promise_;
    std::future<void> future_ = promise_.get_future();
};

TEST_F(NodeWatchTest, TellsOfTheNodeThatIsRemovedAndOfNoOther) {
    const std::string first = make("vhost-vdpa-0");
    const std::string second = make("vhost-vdpa-1");
    Told first_told;
    Told second_told;
    auto first_watch = NodeWatch::start(first, identity(first), first_told.callback());
    auto second_watch = NodeWatch::start(second, identity(second), second_told.callback());
    ASSERT_TRUE(first_watch && second_watch);
    std::filesystem::remove(second);
    EXPECT_TRUE(second_told.wait());
    EXPECT_EQ(first_told.count(), 0);
    std::filesystem::remove(first);
    EXPECT_TRUE(first_told.wait());
    EXPECT_EQ(first_told.count(), 1);
    EXPECT_EQ(second_told.count(), 1);
}

TEST_F(NodeWatchTest, TellsOfANodeThatWasReplaced) {
    const std::string path = make("vhost-vdpa-0");
    Told told;
    auto watch = NodeWatch::start(path, identity(path), told.callback());
    ASSERT_TRUE(watch);
    const std::string other = make("other");
    std::filesystem::rename(other, path);
    EXPECT_TRUE(told.wait());
}

TEST_F(NodeWatchTest, TellsAtOnceOfANodeThatWasRemovedInTheMeantime) {
    const std::string path = make("vhost-vdpa-0");
    const struct stat node = identity(path);
    std::filesystem::remove(path);
    Told told;
    auto watch = NodeWatch::start(path, node, told.callback());
    ASSERT_TRUE(watch);
    EXPECT_EQ(told.count(), 1);
}

TEST_F(NodeWatchTest, TellsNobodyWhoseWatchHasEnded) {
    const std::string ended = make("vhost-vdpa-0");
    const std::string watched = make("vhost-vdpa-1");
    Told ended_told;
    Told watched_told;
    auto ended_watch = NodeWatch::start(ended, identity(ended), ended_told.callback());
    auto watched_watch = NodeWatch::start(watched, identity(watched), watched_told.callback());
    ASSERT_TRUE(ended_watch && watched_watch);
    ended_watch->reset();
    std::filesystem::remove(ended);
    std::filesystem::remove(watched);
    EXPECT_TRUE(watched_told.wait());
    EXPECT_EQ(ended_told.count(), 0);
}

TEST_F(NodeWatchTest, UsesOneInotifyInstanceForAllAndNoneForNobody) {
    const auto instances = [] {
        int count = 0;
        for (const auto &fd : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code error;
            count += std::filesystem::read_symlink(fd, error) == "anon_inode:inotify" ? 1 : 0;
        }
        return count;
    };
    ASSERT_EQ(instances(), 0);
    {
        std::vector<std::unique_ptr<NodeWatch>> watches;
        for (int i = 0; i < 20; ++i) {
            const std::string path = make("vhost-vdpa-" + std::to_string(i));
            auto watch = NodeWatch::start(path, identity(path), [] {});
            ASSERT_TRUE(watch);
            watches.push_back(std::move(*watch));
        }
        EXPECT_EQ(instances(), 1);
    }
    EXPECT_EQ(instances(), 0);
}

TEST_F(NodeWatchTest, NamesAFolderThatIsNotThere) {
    const auto watch = NodeWatch::start("/nowhere/vhost-vdpa-0", {}, [] {});
    ASSERT_FALSE(watch);
    EXPECT_NE(watch.error().detail.find("/nowhere/"), std::string::npos);
}

}  // namespace
}  // namespace vdpa::engine::kernel
