// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* Whether a socket could be made at `path` now: its folder is there, and nothing is at the path
 * but perhaps a socket that nobody listens on. Errors: socket-dir-missing, socket-path-occupied,
 * socket-in-use, socket-failed. Changes nothing; a live listener sees one connection that ends
 * at once. */
Expected<void> check_server_path(const std::string &path);

/* Removes what an engine that died left of a socket at `path`; whatever else stands there, or
 * answers there, is left alone, which is no error. Error: socket-failed, when it cannot be removed,
 * or it cannot be found out whether it is dead. */
Expected<void> remove_dead_socket(const std::string &path);

/* Whether our user may connect to `path`, without connecting. No error while nothing is there.
 * Error: socket-failed. */
Expected<void> check_client_path(const std::string &path);

/* A socket file that is there under its final name, known by its inode. */
class SocketFile {
  public:
    SocketFile(std::string path, dev_t device, ino_t inode)
        : path_(std::move(path)), device_(device), inode_(inode) {}

    const std::string &path() const { return path_; }
    /* Whether `path` still is the file that we put there. */
    bool still_ours() const;
    /* Gives the file the owner and permissions of `spec`. Error: socket-failed. */
    Expected<void> set_attributes(const schema::SocketSpec &spec) const;
    /* Unlinks it, if it is still ours. */
    void remove() const;

  private:
    std::string path_;
    dev_t device_;
    ino_t inode_;
};

/* Keeps the empty folder of the last workshop, so that the next one beside it need not make one: a
 * disk's filesystem takes longer for that than for all else that a new socket costs. An engine that
 * is killed leaves it behind: the first workshop in a place removes those. Not thread-safe. */
class KeptFolder {
  public:
    KeptFolder() = default;
    ~KeptFolder() { remove(); }
    KeptFolder(const KeptFolder &) = delete;
    KeptFolder &operator=(const KeptFolder &) = delete;

    void remove();
    /* The same, unless a workshop has left it since the last call. To be called now and then. */
    void remove_if_idle();

  private:
    friend class SocketWorkshop;
    /* The first time for each `parent`: it may hold many sockets. */
    void remove_those_left_in(int parent);
    /* The folder, which now has that name in the folder `parent`; none: it is not there. */
    UniqueFd lend(int parent, const std::string &name);
    void keep(UniqueFd parent, UniqueFd folder, std::string name);

    UniqueFd parent_;
    UniqueFd folder_;
    std::string name_;
    bool is_fresh_ = false;
    std::set<std::pair<dev_t, ino_t>> looked_at_;
};

/* A socket in the making: bound in a folder of its own beside the final path, which nobody but us
 * may enter, and moved to the final path when it is as it should be. So nobody ever sees it with
 * another owner or other permissions, and whatever fails leaves the final path as it was. The
 * folder is `.<name of the socket>.vdpa`; it goes with this object, or is left to `keeper`. */
class SocketWorkshop {
  public:
    /* Errors: socket-dir-missing, socket-failed. */
    static Expected<SocketWorkshop> open(const std::string &path, KeptFolder *keeper = nullptr);
    SocketWorkshop(SocketWorkshop &&) noexcept = default;
    SocketWorkshop &operator=(SocketWorkshop &&) = delete;
    ~SocketWorkshop();

    /* Where to bind: a path that is valid as long as this object lives, fits sockaddr_un for every
     * final path, and is never given twice in a process. */
    const std::string &bind_path() const { return bind_path_; }
    /* Sets owner and permissions of the socket that was bound at bind_path(), and moves it to the
     * final path. A dead socket there is replaced, and so is `own`; anything else is an error as
     * of check_server_path(). */
    Expected<SocketFile> publish(const schema::SocketSpec &spec,
                                 const SocketFile *own = nullptr) const;

  private:
    SocketWorkshop() = default;

    Expected<void> move_into_place(unsigned flags) const;
    Expected<void> move_to_free_path() const;

    std::string path_;
    std::string folder_name_;
    std::string socket_name_;
    std::string bind_path_;
    UniqueFd parent_;
    UniqueFd folder_;
    KeptFolder *keeper_ = nullptr;
};

}  // namespace vdpa::engine::vhost
