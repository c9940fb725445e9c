// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/workshop_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

namespace vdpa::engine::vhost {

namespace {

using schema::Reason;

constexpr std::string_view prefix = ".";
constexpr std::string_view suffix = ".vdpa";

using Directory = std::unique_ptr<DIR, int (*)(DIR *)>;

Directory list(UniqueFd folder) {
    Directory directory(::fdopendir(folder.get()), ::closedir);
    if (directory) {
        (void)folder.release();
    }
    return directory;
}

UniqueFd open_folder(int parent, const char *name) {
    return UniqueFd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

bool is_ours_alone(int folder) {
    struct stat status {};
    return ::fstat(folder, &status) == 0 && status.st_uid == ::geteuid() &&
           (status.st_mode & 07777) == 0700;
}

/* Whether the folder still has that name. */
bool is_named(int parent, const char *name, int folder) {
    struct stat named {};
    struct stat opened {};
    return ::fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ::fstat(folder, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

bool is_workshop_name(std::string_view name) {
    return name.size() > prefix.size() + suffix.size() && name.starts_with(prefix) &&
           name.ends_with(suffix);
}

/* Removes `name` if it is one that was left behind, and empty: rmdir(2) takes no other. With the
 * lock nobody else of our user renames it or begins to work in it. */
void remove_if_left(int parent, const char *name) {
    const UniqueFd folder = open_folder(parent, name);
    if (folder && is_ours_alone(folder.get()) && ::flock(folder.get(), LOCK_EX | LOCK_NB) == 0 &&
        is_named(parent, name, folder.get())) {
        ::unlinkat(parent, name, AT_REMOVEDIR);
    }
}

}  // namespace

std::string workshop_folder_name(const std::string &socket_name) {
    return std::string(prefix) + socket_name + std::string(suffix);
}

Expected<UniqueFd> open_workshop_folder(int parent, const std::string &parent_path,
                                        const std::string &name) {
    // Another engine that starts may take it for one that was left, until we have the lock.
    constexpr int attempts = 10;
    for (int attempt = 0; attempt < attempts; ++attempt) {
        if (::mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST) {
            return fail(Reason::socket_failed, "cannot make a socket in " + parent_path + ": " +
                                                   errno_text(errno) + "; user " +
                                                   std::to_string(::geteuid()) +
                                                   " must be able to write there");
        }
        UniqueFd folder = open_folder(parent, name.c_str());
        if (!folder && errno == ENOENT) {
            continue;
        }
        if (!folder || !is_ours_alone(folder.get())) {
            break;
        }
        // Without locks on that filesystem it goes on as it is; and at last without this one, for
        // to wait would hold up all ports.
        if (::flock(folder.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
            attempt + 1 < attempts) {
            continue;
        }
        if (is_named(parent, name.c_str(), folder.get())) {
            return folder;
        }
    }
    return fail(Reason::socket_failed,
                parent_path + "/" + name + " is in the way and not ours: remove it");
}

void remove_left_workshop_folders(int parent) {
    const Directory directory = list(open_folder(parent, "."));
    while (const dirent *entry = directory ? ::readdir(directory.get()) : nullptr) {
        if (is_workshop_name(entry->d_name)) {
            remove_if_left(parent, entry->d_name);
        }
    }
}

void empty_workshop_folder(int folder) {
    const Directory directory = list(UniqueFd(::dup(folder)));
    while (const dirent *entry = directory ? ::readdir(directory.get()) : nullptr) {
        ::unlinkat(folder, entry->d_name, 0);
    }
}

}  // namespace vdpa::engine::vhost
