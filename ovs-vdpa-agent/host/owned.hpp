// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* The file that says what on this host was made by the agent, and so is its to undo. It is written
 * before an act takes effect; an entry whose object does not exist is no harm.
 *
 * Lives in the run directory. Entries of an earlier boot are dropped: interface indexes mean
 * nothing after a reboot. Not thread-safe. */
class OwnedFile {
  public:
    explicit OwnedFile(std::string path) : path_(std::move(path)) {}

    /* Reads the file; no file is an empty record. Error: record-failed, when it cannot be read or
     * is malformed: then nothing is known of what is ours, and nothing else may be called. */
    Expected<void> load();
    /* The same, unless the last reading succeeded. */
    Expected<void> load_once();

    /* Interface index of the TAP netdev of that name. */
    std::optional<int> tap(const std::string &name) const;
    const std::map<std::string, int> &taps() const { return taps_; }

    /* Each writes the whole file, atomically. Error: record-failed; the record is unchanged. */
    Expected<void> set_tap(const std::string &name, int ifindex);
    Expected<void> forget_tap(const std::string &name);

  private:
    Expected<void> write(const std::map<std::string, int> &taps) const;

    std::string path_;
    bool loaded_ = false;
    std::map<std::string, int> taps_;
};

}  // namespace vdpa::agent::host
