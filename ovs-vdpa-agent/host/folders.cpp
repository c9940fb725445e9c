// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/folders.hpp"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include <memory>
#include <string_view>

namespace vdpa::agent::host {

namespace {

struct FolderCloser {
    void operator()(DIR *folder) const { ::closedir(folder); }
};
using OpenFolder = std::unique_ptr<DIR, FolderCloser>;

}  // namespace

std::vector<std::string> entries(const std::string &path, const char *prefix) {
    std::vector<std::string> names;
    const OpenFolder folder(::opendir(path.c_str()));
    while (folder) {
        const dirent *entry = ::readdir(folder.get());
        if (!entry) {
            break;
        }
        const std::string_view name = entry->d_name;
        if (name != "." && name != ".." && name.starts_with(prefix)) {
            names.emplace_back(name);
        }
    }
    return names;
}

std::optional<std::string> link_name(const std::string &path) {
    char target[PATH_MAX];
    const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
    if (size <= 0) {
        return std::nullopt;
    }
    const std::string_view text(target, static_cast<size_t>(size));
    return std::string(text.substr(text.rfind('/') + 1));
}

}  // namespace vdpa::agent::host
