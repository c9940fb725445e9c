// SPDX-License-Identifier: Apache-2.0
#include "engine/port_plan.hpp"

namespace vdpa::engine {

Plan plan(const schema::PortSpec &from, const schema::PortSpec &to) {
    if (from.socket.path != to.socket.path || from.socket.mode != to.socket.mode ||
        from.device != to.device || to.netdev_awaited > from.netdev_awaited) {
        return {.replace = true};
    }
    // In client mode the file is the front-end's.
    const bool owns_file = to.socket.mode == schema::SocketMode::server;
    return {.netdev = from.netdev_awaited && !to.netdev_awaited,
            .attributes = owns_file &&
                          (from.socket.uid != to.socket.uid || from.socket.gid != to.socket.gid ||
                           from.socket.perms != to.socket.perms),
            .offer = from.max_queues != to.max_queues || from.packed != to.packed ||
                     from.offloads != to.offloads};
}

}  // namespace vdpa::engine
