// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/owned.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "schema/support/json_reader.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

constexpr int64_t file_version = 1;
constexpr size_t max_name = 255;

std::string boot_id() {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
}

tl::unexpected<Error> record_failed(const std::string &path, const std::string &problem) {
    return fail(Reason::record_failed, path + ": " + problem);
}

Expected<void> write_all(int fd, std::string_view text, const std::string &path) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return record_failed(path, "cannot be written: " + errno_text(errno));
        }
        text.remove_prefix(static_cast<size_t>(written));
    }
    return {};
}

/* The file's content, or nothing if there is no file. (A stream would throw where reading fails.)
 */
Expected<std::optional<std::string>> read_all(const std::string &path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) {
        return std::nullopt;
    }
    std::string text;
    std::array<char, 4096> part{};
    ssize_t size = fd ? 1 : -1;
    while (size > 0) {
        size = ::read(fd.get(), part.data(), part.size());
        if (size > 0) {
            text.append(part.data(), static_cast<size_t>(size));
        } else if (size < 0 && errno == EINTR) {
            size = 1;
        }
    }
    if (size < 0) {
        return record_failed(path, "cannot be read: " + errno_text(errno));
    }
    return text;
}

}  // namespace

Expected<void> OwnedFile::load_once() {
    return loaded_ ? Expected<void>() : load();
}

Expected<void> OwnedFile::load() {
    loaded_ = false;
    taps_.clear();
    const auto text = read_all(path_);
    if (!text) {
        return tl::make_unexpected(text.error());
    }
    if (!*text) {
        loaded_ = true;
        return {};
    }
    const nlohmann::json root = parse_untrusted_json(**text);
    if (root.is_discarded()) {
        return record_failed(path_, "is no JSON; move it away if nothing that it lists is needed");
    }

    JsonReader reader(path_);
    std::map<std::string, int> taps;
    std::string boot;
    if (reader.expect_object(root)) {
        int64_t version = 0;
        if (const auto *value = reader.member(root, "version", true)) {
            reader.read_integer(*value, file_version, file_version, version);
        }
        if (const auto *value = reader.member(root, "boot_id", true)) {
            reader.read_string(*value, 0, max_name, boot);
        }
        if (const auto *value = reader.member(root, "taps", true);
            value && reader.expect_object(*value)) {
            for (const auto &item : value->items()) {
                int64_t ifindex = 0;
                if (reader.read_integer(item.value(), 1, INT32_MAX, ifindex)) {
                    taps[item.key()] = static_cast<int>(ifindex);
                }
            }
        }
    }
    if (!reader.ok()) {
        return fail(Reason::record_failed, reader.error());
    }
    if (boot == boot_id()) {
        taps_ = std::move(taps);
    }
    loaded_ = true;
    return {};
}

std::optional<int> OwnedFile::tap(const std::string &name) const {
    const auto found = taps_.find(name);
    return found == taps_.end() ? std::nullopt : std::optional(found->second);
}

Expected<void> OwnedFile::set_tap(const std::string &name, int ifindex) {
    auto taps = taps_;
    taps[name] = ifindex;
    return write(taps).map([&] { taps_ = std::move(taps); });
}

Expected<void> OwnedFile::forget_tap(const std::string &name) {
    auto taps = taps_;
    if (taps.erase(name) == 0) {
        return {};
    }
    return write(taps).map([&] { taps_ = std::move(taps); });
}

Expected<void> OwnedFile::write(const std::map<std::string, int> &taps) const {
    const nlohmann::json root = {{"version", file_version}, {"boot_id", boot_id()}, {"taps", taps}};
    const std::string text =
        root.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const std::string temporary = path_ + ".new";
    const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) {
        return record_failed(temporary, "cannot be made: " + errno_text(errno));
    }
    if (auto written = write_all(fd.get(), text, temporary); !written) {
        return written;
    }
    // No fsync: the file has to outlive the agent, not the boot.
    if (::rename(temporary.c_str(), path_.c_str()) != 0) {
        return record_failed(path_, "cannot be replaced: " + errno_text(errno));
    }
    return {};
}

}  // namespace vdpa::agent::host
