// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::rpc {

/* A listening unix stream socket of our own at a path, with mode 0600 from its first instant.
 * A lock file beside it, held as long as this object lives, keeps a second engine off; so what
 * stands at the path and answers nobody is left by an engine that died, and is replaced. */
class Listener {
  public:
    /* Error: engine-error; nothing was changed at `path`. To be called while the process has one
     * thread: the umask is set for an instant. */
    static Expected<Listener> open(const std::string &path);
    Listener(Listener &&) noexcept = default;
    Listener &operator=(Listener &&) = delete;
    /* Removes the socket, unless something else stands at its path by now, and the lock file. */
    ~Listener();

    const std::string &path() const { return path_; }
    /* The listening socket, non-blocking; still owned by this object. */
    int fd() const { return socket_.get(); }

  private:
    Listener() = default;

    std::string path_;
    UniqueFd lock_;
    UniqueFd socket_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace vdpa::engine::rpc
