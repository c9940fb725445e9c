// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vdpa::agent::host {

/* What is to become of netlink requests of this program. */
enum class NetlinkFault {
    none,         // they are only counted
    not_sent,     // the call that sends it fails, as without memory
    refused,      // the kernel answers with an error
    dump_failed,  // the last message of the kernel's answer has an error; of RTM_GETLINK alone
};

/* As long as this lives, the next `count` requests of that type that libnl sends do not work. */
class NetlinkFaults {
  public:
    NetlinkFaults(uint16_t type, NetlinkFault fault, int count);
    ~NetlinkFaults();
    NetlinkFaults(const NetlinkFaults &) = delete;
    NetlinkFaults &operator=(const NetlinkFaults &) = delete;

    /* How many there were of them. */
    static int met();
};

}  // namespace vdpa::agent::host
