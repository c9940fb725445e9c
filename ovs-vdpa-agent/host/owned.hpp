// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/function_port.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* What was done to the representor of an Interface and to the function behind it. */
struct OwnedRepresentor {
    FunctionPort port = {};
    int ifindex = 0;              // 0: the netdev is not ours to rename
    std::string old_name = {};    // to be given back
    std::string row_before = {};  // whose name it may still have; empty: none's
    bool mac_set = false;         // the function's MAC address

    bool operator==(const OwnedRepresentor &) const = default;
};

/* A kernel vDPA device that we made, and what was asked for. */
struct OwnedVdpa {
    std::string management = {};
    std::string mac = {};
    std::optional<uint16_t> mtu = {};
    uint16_t max_pairs = 1;

    bool operator==(const OwnedVdpa &) const = default;
};

/* What a PF was like before we changed it; none: not changed. Nothing is undone by it. */
struct OwnedPf {
    std::optional<uint32_t> num_vfs = {};
    bool was_legacy = false;
    /* So many VFs were made in a preparation that is not over. */
    std::optional<uint32_t> made_vfs = {};

    bool operator==(const OwnedPf &) const = default;
};

struct Owned {
    std::map<std::string, int> taps;                       // interface indexes by Interface name
    std::map<std::string, int> unfinished_taps;            // of these, such as were never ready
    std::map<std::string, OwnedRepresentor> representors;  // by Interface name
    std::map<Handle, std::string> unbound;                 // VFs, with the driver they had
    std::map<std::string, OwnedVdpa> vdpa;                 // by the device's name
    std::map<Handle, OwnedPf> pfs;

    bool operator==(const Owned &) const = default;
};

/* The record as the file has it (owned_json.cpp). Versions 1 (TAPs alone) and 2 are read, 2 is
 * written; another boot's is empty. `serial` counts the writings of the whole file. */
std::string write_owned(const Owned &owned, const std::string &boot_id, uint64_t serial);

/* The beginning of the file of changes of the whole file with that serial, and what differs between
 * two records, each as a line. */
std::string write_changes_head(uint64_t serial);
std::string write_changes(const Owned &before, const Owned &after);

struct OwnedText {
    Owned owned = {};
    uint64_t serial = 0;
    bool has_changes = false;  // of this serial, and whole
    /* Changes may be appended. Of another boot's record they would be dropped with it; and one
     * without a serial, of an agent that knew no changes, cannot be told from the next of that
     * kind. */
    bool may_grow = false;
};
/* Reads the whole file and, where there is one, the file of changes. Changes of another serial are
 * older than the whole file, and a last line without its end was not written in time: neither
 * counts. `path` is for the sentence of the error, record-failed. */
Expected<OwnedText> read_owned(const std::string &text, const std::string &changes,
                               const std::string &boot_id, const std::string &path);

/* The file that says what on this host was made or changed by the agent, and so is its to undo. It
 * is written before an act takes effect; an entry whose object does not exist is no harm.
 *
 * Lives in the run directory. Entries of an earlier boot are dropped: interface indexes mean
 * nothing after a reboot. Copies share one record. Thread-safe.
 *
 * Changes are appended to PATH.changes, so that each costs what it says and not what all ports of
 * the host do, until that file would be longer than the record and 16 KiB: then the record is
 * written whole again. */
class OwnedFile {
  public:
    explicit OwnedFile(std::string path);

    /* Reads the file; no file is an empty record. Error: record-failed, when it cannot be read or
     * is malformed: then nothing is known of what is ours, and nothing is written. */
    Expected<void> load();
    /* The same, unless the last reading succeeded. */
    Expected<void> load_once();

    /* What is recorded now. */
    Owned get() const;
    std::optional<OwnedRepresentor> representor(const std::string &name) const;
    std::optional<OwnedVdpa> vdpa(const std::string &name) const;
    /* Interface index of the TAP netdev of that name. */
    std::optional<int> tap(const std::string &name) const;
    std::map<std::string, int> taps() const { return get().taps; }
    /* Whether a TAP netdev of that name is recorded that was ready once. */
    bool has_finished_tap(const std::string &name) const;

    /* Makes one change of the record and writes it, atomically, if that changed anything. `edit`
     * must not call this object. Error: record-failed; the record is unchanged. */
    Expected<void> change(const std::function<void(Owned &)> &edit);
    /* A TAP netdev that is being made, and one that is ready. */
    Expected<void> begin_tap(const std::string &name, int ifindex);
    Expected<void> set_tap(const std::string &name, int ifindex);
    Expected<void> forget_tap(const std::string &name);

  private:
    Expected<void> change_tap(const std::string &name, const std::function<void(Owned &)> &edit);

    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace vdpa::agent::host
