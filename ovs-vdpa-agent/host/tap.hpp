// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

/* What a TAP is to be. */
struct TapSpec {
    std::optional<uid_t> owner = {};  // who may open it without CAP_NET_ADMIN; none: as it is
    /* Whether it can have more than one queue pair. If so, the kernel gives it 256 transmit queues
     * with a queueing discipline each, which take 6 MB of memory and some 10 ms to set up. */
    bool multi_queue = false;
};

struct TapState {
    int ifindex = 0;
    bool created = false;  // just now; otherwise it was there
    /* Created, and there had been another since the host was started that was ready: one that an
     * agent which was killed had not got so far is nobody's loss. */
    bool replaced = false;
    bool multi_queue = false;
};

/* Whether a TAP's flags are as Taps::ensure() leaves them. Another program that sets a flag of its
 * own at the same moment writes back what it read before: ovs-vswitchd does when it takes the port.
 */
bool is_set_up(const Link &link);

/* The netdevs of emulated VFs: persistent TAPs with a virtio-net header
 * (Documentation/networking/tuntap.rst), made here and opened by an engine.
 *
 * Every call blocks for as long as the kernel's rtnl lock takes, and a removal for some 20 ms more.
 * Not thread-safe. */
class Taps {
  public:
    /* `record` is where what is made is written down. Error: tap-failed. */
    static Expected<Taps> open(OwnedFile record);

    /* Makes the TAP be there: up, without ARP and IPv6 (the host's stack must not answer on it),
     * without carrier if it is new, and open to the owner where one is given. Adopts what an
     * earlier agent made, also where it has one queue and is to have many or the other way round:
     * that needs another netdev. One that somebody renamed gets its name back, unless it is
     * attached to something. A crash at any point leaves either nothing or what the record names,
     * and never a netdev of that name that goes away with the agent. Errors: ovs-detach, when one
     * that was renamed is attached; name-taken, when a netdev of that name is not ours; tap-failed;
     * record-failed. */
    Expected<TapState> ensure(const std::string &name, const TapSpec &spec);

    /* Deletes the TAP if it is ours. That it is gone already is no error. Errors: tap-failed;
     * record-failed. */
    Expected<void> remove(const std::string &name);

    /* Names of all that the record lists, which is read anew: another agent may have written it.
     * Error: record-failed. */
    Expected<std::vector<std::string>> owned();

  private:
    Taps(Rtnl rtnl, UniqueFd socket, OwnedFile record)
        : rtnl_(std::move(rtnl)), socket_(std::move(socket)), record_(std::move(record)) {}
    Expected<std::optional<Link>> find_ours(const std::string &name);
    Expected<TapState> adopt(const Link &found, const std::string &name, const TapSpec &spec);
    Expected<TapState> create(const std::string &name, const TapSpec &spec);
    Expected<void> name_and_set_up(int ifindex, const std::string &name, bool is_new);

    Rtnl rtnl_;
    UniqueFd socket_;  // for the ioctls of netdevice(7)
    OwnedFile record_;
};

}  // namespace vdpa::agent::host
