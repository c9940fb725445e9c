// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/socket_file.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "engine/vhost/workshop_folder.hpp"

namespace vdpa::engine::vhost {

namespace {

using schema::Reason;

std::string folder_of(const std::string &path) {
    return std::filesystem::path(path).parent_path().string();
}

std::string name_of(const std::string &path) {
    return std::filesystem::path(path).filename().string();
}

std::string user_text() {
    return "user " + std::to_string(::geteuid());
}

/* What connect() says about the socket at `path`: 0, or an errno. */
int probe(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return ENAMETOOLONG;
    }
    std::copy(path.begin(), path.end(), address.sun_path);
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
        return errno;
    }
    const int result =
        ::connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address));
    return result == 0 ? 0 : errno;
}

/* Opens the folder of `path` as a place to work in. */
Expected<UniqueFd> open_parent(const std::string &path) {
    const std::string folder = folder_of(path);
    UniqueFd fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd) {
        return fd;
    }
    if (errno == ENOENT || errno == ENOTDIR) {
        return fail(Reason::socket_dir_missing,
                    "the folder " + folder + " does not exist: make it, or choose another path");
    }
    return fail(Reason::socket_failed, "cannot enter folder " + folder + ": " + errno_text(errno));
}

/* Whether the socket at `path`, which is there, is dead. */
Expected<void> check_dead(const std::string &path) {
    switch (const int error = probe(path)) {
        case ECONNREFUSED:
        case ENOENT:
            return {};
        case 0:
        case EAGAIN:  // a listener whose queue is full
            return fail(Reason::socket_in_use,
                        "another process listens on " + path + ": choose another path, or stop it");
        case EPROTOTYPE:
            return fail(Reason::socket_in_use, path +
                                                   " is a socket of another type, which is not "
                                                   "ours to remove: choose another path");
        default:
            return fail(Reason::socket_failed,
                        "cannot find out who listens on " + path + ": " + errno_text(error));
    }
}

/* Gives the file that `fd` (O_PATH) stands for its owner and permissions. Nobody can open it yet,
 * so the owner comes first; CAP_FOWNER is for what comes after. */
Expected<void> set_attributes_of(int fd, const std::string &path, const schema::SocketSpec &spec) {
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const uid_t uid = spec.uid ? static_cast<uid_t>(*spec.uid) : ::geteuid();
    const gid_t gid = spec.gid ? static_cast<gid_t>(*spec.gid) : ::getegid();
    if (::fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0) {
        return fail(Reason::socket_failed, "cannot give " + path + " to user " +
                                               std::to_string(uid) + ", group " +
                                               std::to_string(gid) + ": " + errno_text(errno));
    }
    if (::chmod(link.c_str(), static_cast<mode_t>(spec.perms)) != 0) {
        std::array<char, 8> octal{};
        std::snprintf(octal.data(), octal.size(), "%04o", spec.perms);
        return fail(Reason::socket_failed, "cannot set permissions " + std::string(octal.data()) +
                                               " of " + path + ": " + errno_text(errno));
    }
    return {};
}

}  // namespace

Expected<void> check_server_path(const std::string &path) {
    const auto parent = open_parent(path);
    if (!parent) {
        return tl::make_unexpected(parent.error());
    }
    struct stat status {};
    if (::fstatat(parent->get(), name_of(path).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) {
            return {};
        }
        return fail(Reason::socket_failed, "cannot look at " + path + ": " + errno_text(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        const char *kind = S_ISDIR(status.st_mode)   ? "a folder"
                           : S_ISLNK(status.st_mode) ? "a symbolic link"
                                                     : "a file that is no socket";
        return fail(Reason::socket_path_occupied,
                    path + " is " + kind + ": choose another path, or remove it");
    }
    return check_dead(path);
}

Expected<void> check_client_path(const std::string &path) {
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0 || errno == ENOENT ||
        errno == ENOTDIR) {
        return {};
    }
    return fail(Reason::socket_failed, user_text() + " may not connect to " + path + ": " +
                                           errno_text(errno) +
                                           "; change its owner or permissions, or those of its "
                                           "folder");
}

bool SocketFile::still_ours() const {
    struct stat status {};
    return ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
           status.st_ino == inode_;
}

Expected<void> SocketFile::set_attributes(const schema::SocketSpec &spec) const {
    const UniqueFd fd(::open(path_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0 || status.st_dev != device_ ||
        status.st_ino != inode_) {
        return fail(Reason::socket_failed, path_ + " is not our socket any more");
    }
    // Neither the old owner with the new permissions nor the new one with the old may get in.
    const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
    if (::chmod(link.c_str(), 0) != 0) {
        return fail(Reason::socket_failed,
                    "cannot set permissions of " + path_ + ": " + errno_text(errno));
    }
    auto set = set_attributes_of(fd.get(), path_, spec);
    if (!set) {
        // As it was, as far as that can be had.
        [[maybe_unused]] const int owner =
            ::fchownat(fd.get(), "", status.st_uid, status.st_gid, AT_EMPTY_PATH);
        [[maybe_unused]] const int mode = ::chmod(link.c_str(), status.st_mode & 07777);
    }
    return set;
}

void SocketFile::remove() const {
    if (still_ours()) {
        ::unlink(path_.c_str());
    }
}

UniqueFd KeptFolder::lend(int parent, const std::string &name) {
    struct stat kept {};
    struct stat wanted {};
    struct stat folder {};
    // Somebody may have removed it.
    const bool is_here = folder_ && ::fstat(folder_.get(), &folder) == 0 && folder.st_nlink > 0 &&
                         ::fstat(parent_.get(), &kept) == 0 && ::fstat(parent, &wanted) == 0 &&
                         kept.st_dev == wanted.st_dev && kept.st_ino == wanted.st_ino;
    if (!is_here ||
        ::renameat2(parent, name_.c_str(), parent, name.c_str(), RENAME_NOREPLACE) != 0) {
        return {};
    }
    return std::move(folder_);
}

void KeptFolder::remove_those_left_in(int parent) {
    struct stat status {};
    if (::fstat(parent, &status) == 0 && looked_at_.emplace(status.st_dev, status.st_ino).second) {
        remove_left_workshop_folders(parent);
    }
}

void KeptFolder::keep(UniqueFd parent, UniqueFd folder, std::string name) {
    remove();
    parent_ = std::move(parent);
    folder_ = std::move(folder);
    name_ = std::move(name);
    is_fresh_ = true;
}

void KeptFolder::remove() {
    if (folder_) {
        ::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR);
    }
    folder_.reset();
    parent_.reset();
}

void KeptFolder::remove_if_idle() {
    if (!std::exchange(is_fresh_, false)) {
        remove();
    }
}

Expected<SocketWorkshop> SocketWorkshop::open(const std::string &path, KeptFolder *keeper) {
    // A number in the name keeps bind paths apart even when a descriptor's number comes again.
    static std::atomic<uint64_t> counter{0};

    auto parent = open_parent(path);
    if (!parent) {
        return tl::make_unexpected(parent.error());
    }
    SocketWorkshop workshop;
    workshop.path_ = path;
    workshop.parent_ = std::move(*parent);
    const std::string name = name_of(path);
    const std::string folder_name = workshop_folder_name(name);
    const int parent_fd = workshop.parent_.get();
    workshop.keeper_ = keeper;
    if (keeper) {
        keeper->remove_those_left_in(parent_fd);
        workshop.folder_ = keeper->lend(parent_fd, folder_name);
    }
    if (!workshop.folder_) {
        auto folder = open_workshop_folder(parent_fd, folder_of(path), folder_name);
        if (!folder) {
            return tl::make_unexpected(folder.error());
        }
        workshop.folder_ = std::move(*folder);
        empty_workshop_folder(workshop.folder_.get());
    }
    workshop.folder_name_ = folder_name;
    constexpr size_t max_name = 60;
    workshop.socket_name_ = name.substr(0, max_name) + "." + std::to_string(++counter);
    workshop.bind_path_ =
        "/proc/self/fd/" + std::to_string(workshop.folder_.get()) + "/" + workshop.socket_name_;
    return workshop;
}

SocketWorkshop::~SocketWorkshop() {
    if (folder_ && !folder_name_.empty()) {
        ::unlinkat(folder_.get(), socket_name_.c_str(), 0);
        if (keeper_) {
            keeper_->keep(std::move(parent_), std::move(folder_), std::move(folder_name_));
        } else {
            ::unlinkat(parent_.get(), folder_name_.c_str(), AT_REMOVEDIR);
        }
    }
}

Expected<void> remove_dead_socket(const std::string &path) {
    // A workshop that was left in the folder is emptied by opening it, and removed with ours.
    const auto workshop = SocketWorkshop::open(path);
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? Expected<void>()
                   : fail(Reason::socket_failed,
                          "cannot look at " + path + ": " + errno_text(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return {};
    }
    if (const auto dead = check_dead(path); !dead) {
        return dead.error().reason == Reason::socket_in_use ? Expected<void>() : dead;
    }
    if (!workshop) {
        return tl::make_unexpected(workshop.error());
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return fail(Reason::socket_failed,
                    user_text() + " cannot remove " + path + ": " + errno_text(errno));
    }
    return {};
}

Expected<void> SocketWorkshop::move_into_place(unsigned flags) const {
    if (::renameat2(folder_.get(), socket_name_.c_str(), parent_.get(), name_of(path_).c_str(),
                    flags) == 0) {
        return {};
    }
    return fail(errno == EEXIST ? Reason::socket_in_use : Reason::socket_failed,
                "cannot put the socket at " + path_ + ": " + errno_text(errno));
}

Expected<void> SocketWorkshop::move_to_free_path() const {
    struct stat before {};
    const bool occupied =
        ::fstatat(parent_.get(), name_of(path_).c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
    if (auto free = check_server_path(path_); !free) {
        return free;
    }
    if (!occupied) {
        return move_into_place(RENAME_NOREPLACE);
    }
    // The dead socket is taken out by an exchange, so that what somebody else put in its place
    // since we looked is noticed, and put back.
    if (auto exchanged = move_into_place(RENAME_EXCHANGE); !exchanged) {
        return exchanged;
    }
    struct stat taken {};
    if (::fstatat(folder_.get(), socket_name_.c_str(), &taken, AT_SYMLINK_NOFOLLOW) == 0 &&
        taken.st_dev == before.st_dev && taken.st_ino == before.st_ino) {
        return {};
    }
    [[maybe_unused]] const auto back = move_into_place(RENAME_EXCHANGE);
    return fail(Reason::socket_in_use, path_ + " was taken by another process just now");
}

Expected<SocketFile> SocketWorkshop::publish(const schema::SocketSpec &spec,
                                             const SocketFile *own) const {
    const UniqueFd fd(
        ::openat(folder_.get(), socket_name_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
        return fail(Reason::socket_failed,
                    "the socket made for " + path_ + " is gone: " + errno_text(errno));
    }
    if (auto set = set_attributes_of(fd.get(), path_, spec); !set) {
        return tl::make_unexpected(set.error());
    }
    if (own && own->path() == path_ && own->still_ours()) {
        if (auto moved = move_into_place(0); !moved) {
            return tl::make_unexpected(moved.error());
        }
    } else if (auto moved = move_to_free_path(); !moved) {
        return tl::make_unexpected(moved.error());
    }
    return SocketFile(path_, status.st_dev, status.st_ino);
}

}  // namespace vdpa::engine::vhost
