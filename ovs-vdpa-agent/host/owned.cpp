// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/owned.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <mutex>

#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

/* That of some thousand representors is one megabyte. */
constexpr size_t max_file = size_t{16} << 20U;
/* So long the changes of a short record may become. To write it whole makes a file and deletes one,
 * which a disk's filesystem takes ten times as long for as for appending a line. */
constexpr size_t most_changes = 16384;
/* Of each kind. No host has as many. */
constexpr size_t max_entries = 16384;

std::string boot_id() {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
}

/* Where no serial is known, one that no file of changes which was left there has. */
uint64_t new_serial() {
    return static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
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
        if (size > 0 && text.size() > max_file) {
            return record_failed(path, "is too large to be ours; move it away");
        }
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

/* Replaces the file. */
Expected<void> write_file(const std::string &path, const std::string &text) {
    const std::string temporary = path + ".new";
    const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) {
        return record_failed(temporary, "cannot be made: " + errno_text(errno));
    }
    if (auto written = write_all(fd.get(), text, temporary); !written) {
        return written;
    }
    // No fsync: the file has to outlive the agent, not the boot.
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        return record_failed(path, "cannot be replaced: " + errno_text(errno));
    }
    return {};
}

/* Appends to a file, or begins it. Of a text that could not be written whole the reader takes no
 * notice. */
Expected<void> append_file(const std::string &path, bool is_new, const std::string &text) {
    const int begin = is_new ? O_TRUNC : 0;
    const UniqueFd fd(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | begin, 0600));
    if (!fd) {
        return record_failed(path, "cannot be opened: " + errno_text(errno));
    }
    return write_all(fd.get(), text, path);
}

std::optional<size_t> size_of(const std::string &path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? std::optional(static_cast<size_t>(status.st_size))
                                              : std::nullopt;
}

template <typename Key, typename Value>
void put(std::map<Key, Value> &map, const Key &key, const std::optional<Value> &value) {
    if (value) {
        map[key] = *value;
    } else {
        map.erase(key);
    }
}

template <typename Map>
auto look_up(const Map &map, const std::string &key) {
    const auto found = map.find(key);
    return found == map.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

struct OwnedFile::State {
    explicit State(std::string file) : path(std::move(file)) {}
    Expected<void> load();
    /* Writes that what was `before` is `after`: the record, or the part of it that has changed.
     * `whole` makes the record as it is to be. */
    Expected<void> write(const Owned &before, const Owned &after,
                         const std::function<Owned()> &whole);
    Expected<void> write_whole(const Owned &changed);
    bool is_as_left() const;

    const std::string path;
    const std::string changes_path = path + ".changes";
    std::mutex mutex;
    bool loaded = false;
    Owned owned;
    uint64_t serial = 0;
    size_t size = 0;          // of the whole file
    size_t changes_size = 0;  // of the file of its changes; 0: none
    bool is_broken = false;   // nothing is to be appended to that
};

OwnedFile::OwnedFile(std::string path) : state_(std::make_shared<State>(std::move(path))) {}

Expected<void> OwnedFile::State::load() {
    // What was known stays until something else is: who finds no entry takes it that nothing is
    // left to be undone.
    loaded = false;
    const auto text = read_all(path);
    if (!text) {
        return tl::make_unexpected(text.error());
    }
    const auto changes = read_all(changes_path);
    if (!changes) {
        return tl::make_unexpected(changes.error());
    }
    size = changes_size = 0;
    serial = 0;
    is_broken = true;
    if (!*text) {
        owned = {};
    } else {
        auto read = read_owned(**text, changes->value_or(""), boot_id(), path);
        if (!read) {
            return tl::make_unexpected(read.error());
        }
        owned = std::move(read->owned);
        serial = read->serial;
        // Otherwise the next change writes it whole.
        size = read->may_grow ? (*text)->size() : 0;
        changes_size = read->has_changes ? (*changes)->size() : 0;
        is_broken = *changes && !read->has_changes;
    }
    if (serial == 0) {
        serial = new_serial();
    }
    loaded = true;
    return {};
}

Expected<void> OwnedFile::State::write(const Owned &before, const Owned &after,
                                       const std::function<Owned()> &whole) {
    std::string text = changes_size == 0 ? write_changes_head(serial) : "";
    text += write_changes(before, after);
    const bool is_long = changes_size + text.size() > std::max(size, most_changes);
    if (is_broken || size == 0 || is_long || !is_as_left()) {
        return write_whole(whole());
    }
    auto written = append_file(changes_path, changes_size == 0, text);
    is_broken = !written;
    changes_size += written ? text.size() : 0;
    return written;
}

/* Whether nobody else has moved the files away, or written to them: what is appended counts only
 * after what was there. */
bool OwnedFile::State::is_as_left() const {
    return size_of(path) == size && (changes_size == 0 || size_of(changes_path) == changes_size);
}

/* Changes of the file before have another serial: they need not be gone. */
Expected<void> OwnedFile::State::write_whole(const Owned &changed) {
    const std::string text = write_owned(changed, boot_id(), serial + 1);
    if (auto written = write_file(path, text); !written) {
        return written;
    }
    if (changes_size != 0 || is_broken) {
        (void)::unlink(changes_path.c_str());
    }
    serial++;
    size = text.size();
    changes_size = 0;
    is_broken = false;
    return {};
}

Expected<void> OwnedFile::load() {
    const std::lock_guard lock(state_->mutex);
    return state_->load();
}

Expected<void> OwnedFile::load_once() {
    const std::lock_guard lock(state_->mutex);
    return state_->loaded ? Expected<void>() : state_->load();
}

Owned OwnedFile::get() const {
    const std::lock_guard lock(state_->mutex);
    return state_->owned;
}

std::optional<OwnedRepresentor> OwnedFile::representor(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    return look_up(state_->owned.representors, name);
}

std::optional<OwnedVdpa> OwnedFile::vdpa(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    return look_up(state_->owned.vdpa, name);
}

std::optional<int> OwnedFile::tap(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    return look_up(state_->owned.taps, name);
}

Expected<void> OwnedFile::change(const std::function<void(Owned &)> &edit) {
    const std::lock_guard lock(state_->mutex);
    if (!state_->loaded) {
        return record_failed(state_->path, "could not be read, so it is not written");
    }
    Owned changed = state_->owned;
    edit(changed);
    if (changed == state_->owned) {
        return {};
    }
    if (std::max({changed.taps.size(), changed.representors.size(), changed.unbound.size(),
                  changed.vdpa.size(), changed.pfs.size()}) > max_entries) {
        return record_failed(state_->path, "would have too many entries");
    }
    const auto whole = [&changed] { return changed; };
    if (auto written = state_->write(state_->owned, changed, whole); !written) {
        return written;
    }
    state_->owned = std::move(changed);
    return {};
}

/* The same as change(), without touching the entries of all the others. */
Expected<void> OwnedFile::change_tap(const std::string &name,
                                     const std::function<void(Owned &)> &edit) {
    const std::lock_guard lock(state_->mutex);
    if (!state_->loaded) {
        return record_failed(state_->path, "could not be read, so it is not written");
    }
    Owned &owned = state_->owned;
    Owned before;
    put(before.taps, name, look_up(owned.taps, name));
    put(before.unfinished_taps, name, look_up(owned.unfinished_taps, name));
    Owned after = before;
    edit(after);
    if (after == before) {
        return {};
    }
    if (owned.taps.size() - before.taps.size() + after.taps.size() > max_entries) {
        return record_failed(state_->path, "would have too many entries");
    }
    const auto take = [&name, &after](Owned &into) {
        put(into.taps, name, look_up(after.taps, name));
        put(into.unfinished_taps, name, look_up(after.unfinished_taps, name));
    };
    const auto whole = [&owned, &take] {
        Owned changed = owned;
        take(changed);
        return changed;
    };
    auto written = state_->write(before, after, whole);
    if (written) {
        take(owned);
    }
    return written;
}

bool OwnedFile::has_finished_tap(const std::string &name) const {
    const std::lock_guard lock(state_->mutex);
    return state_->owned.taps.contains(name) && !state_->owned.unfinished_taps.contains(name);
}

Expected<void> OwnedFile::begin_tap(const std::string &name, int ifindex) {
    return change_tap(name, [&](Owned &owned) {
        // One that was ready before is missed even if this one does not get so far.
        if (!owned.taps.contains(name) || owned.unfinished_taps.contains(name)) {
            owned.unfinished_taps[name] = ifindex;
        }
        owned.taps[name] = ifindex;
    });
}

Expected<void> OwnedFile::set_tap(const std::string &name, int ifindex) {
    return change_tap(name, [&](Owned &owned) {
        owned.taps[name] = ifindex;
        owned.unfinished_taps.erase(name);
    });
}

Expected<void> OwnedFile::forget_tap(const std::string &name) {
    return change_tap(name, [&](Owned &owned) {
        owned.taps.erase(name);
        owned.unfinished_taps.erase(name);
    });
}

}  // namespace vdpa::agent::host
