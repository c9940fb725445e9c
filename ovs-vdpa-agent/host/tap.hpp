// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

struct TapState {
    int ifindex = 0;
    bool created = false;  // just now; otherwise it was there
};

/* Whether a TAP's flags are as Taps::ensure() leaves them. Another program that sets a flag of its
 * own at the same moment writes back what it read before: ovs-vswitchd does when it takes the port.
 */
bool is_set_up(const Link &link);

/* The netdevs of emulated VFs: persistent multi-queue TAPs with a virtio-net header
 * (Documentation/networking/tuntap.rst), made here and opened by an engine.
 *
 * Every call blocks for as long as the kernel's rtnl lock takes, and a removal for some 20 ms more.
 * Not thread-safe. */
class Taps {
  public:
    /* `record` is where what is made is written down. */
    static Expected<Taps> open(OwnedFile record);

    /* Makes the TAP be there: up, without ARP and IPv6 (the host's stack must not answer on it),
     * without carrier if it is new, and open to `owner` where one is given. Adopts what an earlier
     * agent made. A crash at any point leaves either nothing or what the record names.
     * Errors: name-taken, when a netdev of that name is not ours; tap-failed; record-failed. */
    Expected<TapState> ensure(const std::string &name, std::optional<uid_t> owner);

    /* Deletes the TAP if it is ours. That it is gone already is no error. */
    Expected<void> remove(const std::string &name);

    /* Names of all that the record lists, which is read anew: another agent may have written it.
     * Error: record-failed. */
    Expected<std::vector<std::string>> owned();

  private:
    Taps(Rtnl rtnl, OwnedFile record) : rtnl_(std::move(rtnl)), record_(std::move(record)) {}
    Expected<TapState> create(const std::string &name, std::optional<uid_t> owner);

    Rtnl rtnl_;
    OwnedFile record_;
};

}  // namespace vdpa::agent::host
