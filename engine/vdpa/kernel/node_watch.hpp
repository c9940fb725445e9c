// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>

#include "schema/support/error.hpp"

namespace vdpa::engine::kernel {

/* Notices that the node of a character device is removed. A vDPA device that is deleted
 * (vdpa-dev(8)) waits for whoever has it open, with a lock held that every vdpa command wants, and
 * tells nobody: the character device has no poll, and the netlink family no multicast group. But
 * its node in /dev goes first (drivers/vhost/vdpa.c, vhost_vdpa_remove).
 *
 * All watches of a process share one inotify instance, of which a user may have few, and a thread
 * that lives as long as there is a watch. */
class NodeWatch {
  public:
    /* Calls `removed` once, in that thread, when `path` is not the node `opened` any more; before
     * this returns, if it is not now. `removed` must neither block nor end a watch. Error:
     * device-failed. Any thread. */
    static Expected<std::unique_ptr<NodeWatch>> start(const std::string &path,
                                                      const struct stat &opened,
                                                      std::function<void()> removed);
    /* `removed` is not called any more when this returns. */
    ~NodeWatch();
    NodeWatch(const NodeWatch &) = delete;
    NodeWatch &operator=(const NodeWatch &) = delete;

  private:
    class Watcher;
    NodeWatch(std::shared_ptr<Watcher> watcher, std::string path, const struct stat &opened,
              std::function<void()> removed);

    const std::shared_ptr<Watcher> watcher_;
    const std::string path_;
    const dev_t device_;
    const ino_t inode_;
    const std::function<void()> removed_;
    int directory_ = -1;  // inotify's number for it
    bool told_ = false;
};

}  // namespace vdpa::engine::kernel
