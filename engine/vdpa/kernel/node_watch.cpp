// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/node_watch.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

namespace {

tl::unexpected<Error> failure(const std::string &what) {
    return fail(schema::Reason::device_failed, what + ": " + errno_text(errno));
}

}  // namespace

/* The inotify instance, its thread, and who is told. Whatever happens in a folder that is watched,
 * all its nodes are looked at: there are few, and it happens rarely. */
class NodeWatch::Watcher {
  public:
    /* The one that there is, or a new one. */
    static Expected<std::shared_ptr<Watcher>> get() {
        static std::mutex mutex;
        static std::weak_ptr<Watcher> shared;
        const std::lock_guard lock(mutex);
        auto watcher = shared.lock();
        if (!watcher) {
            watcher.reset(new Watcher);
            if (auto launched = watcher->launch(); !launched) {
                return tl::make_unexpected(launched.error());
            }
            shared = watcher;
        }
        return watcher;
    }

    ~Watcher() {
        if (thread_.joinable()) {
            ::eventfd_write(quit_.get(), 1);
            thread_.join();
        }
    }

    Expected<void> add(NodeWatch &watch) {
        const std::lock_guard lock(mutex_);
        const std::string folder = watch.path_.substr(0, watch.path_.rfind('/') + 1);
        watch.directory_ =
            ::inotify_add_watch(inotify_.get(), folder.c_str(),
                                IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
        if (watch.directory_ < 0) {
            return failure("cannot watch the folder " + folder);
        }
        watches_.push_back(&watch);
        look_at(watch);
        return {};
    }

    void remove(const NodeWatch &watch) {
        const std::lock_guard lock(mutex_);
        watches_.erase(std::remove(watches_.begin(), watches_.end(), &watch), watches_.end());
        const bool shared = std::any_of(
            watches_.begin(), watches_.end(),
            [&watch](const NodeWatch *other) { return other->directory_ == watch.directory_; });
        if (!shared) {
            ::inotify_rm_watch(inotify_.get(), watch.directory_);
        }
    }

  private:
    Expected<void> launch() {
        inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        quit_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!inotify_ || !quit_) {
            return failure("cannot watch device nodes (inotify)");
        }
        try {
            thread_ = std::thread([this] { run(); });
        } catch (const std::system_error &error) {
            return fail(schema::Reason::device_failed,
                        std::string("cannot watch device nodes: ") + error.what());
        }
        ::pthread_setname_np(thread_.native_handle(), "vdpa-nodes");
        return {};
    }

    void run() {
        alignas(inotify_event) std::array<char, 4096> events;
        for (;;) {
            std::array<pollfd, 2> fds = {pollfd{inotify_.get(), POLLIN, 0},
                                         pollfd{quit_.get(), POLLIN, 0}};
            ::poll(fds.data(), fds.size(), -1);
            if (fds[1].revents != 0) {
                return;
            }
            while (::read(inotify_.get(), events.data(), events.size()) > 0) {
            }
            const std::lock_guard lock(mutex_);
            for (NodeWatch *watch : watches_) {
                look_at(*watch);
            }
        }
    }

    static void look_at(NodeWatch &watch) {
        struct stat now {};
        const bool there = ::stat(watch.path_.c_str(), &now) == 0 && now.st_rdev == watch.device_ &&
                           now.st_ino == watch.inode_;
        if (!there && !watch.told_) {
            watch.told_ = true;
            watch.removed_();
        }
    }

    std::mutex mutex_;
    std::vector<NodeWatch *> watches_;
    UniqueFd inotify_;
    UniqueFd quit_;
    std::thread thread_;
};

NodeWatch::NodeWatch(std::shared_ptr<Watcher> watcher, std::string path, const struct stat &opened,
                     std::function<void()> removed)
    : watcher_(std::move(watcher)),
      path_(std::move(path)),
      device_(opened.st_rdev),
      inode_(opened.st_ino),
      removed_(std::move(removed)) {}

Expected<std::unique_ptr<NodeWatch>> NodeWatch::start(const std::string &path,
                                                      const struct stat &opened,
                                                      std::function<void()> removed) {
    auto watcher = Watcher::get();
    if (!watcher) {
        return tl::make_unexpected(watcher.error());
    }
    std::unique_ptr<NodeWatch> watch(
        new NodeWatch(std::move(*watcher), path, opened, std::move(removed)));
    if (auto added = watch->watcher_->add(*watch); !added) {
        return tl::make_unexpected(added.error());
    }
    return watch;
}

NodeWatch::~NodeWatch() {
    if (directory_ >= 0) {
        watcher_->remove(*this);
    }
}

}  // namespace vdpa::engine::kernel
