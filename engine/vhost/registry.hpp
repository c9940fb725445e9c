// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <unordered_map>

namespace vdpa::engine::vhost {

class Port;

/* Which of our ports a callback of the vhost library is about. The library knows a port by the
 * path that it was registered with, and a connection by a small number, the vid. Thread-safe; one
 * for the process, as is the library. */
class Registry {
  public:
    static Registry &instance();

    /* False: the path is taken. */
    bool add(const std::string &library_path, Port &port);
    void remove(const std::string &library_path);
    Port *find(const std::string &library_path);
    /* The name of the port registered with `library_path`, or that path. For the log. */
    std::string display_name(const std::string &library_path);

    /* The connection `vid` is with `port` from now on. What MemoryGuard knows of an earlier one
     * with that number is forgotten. */
    void set_connection(int vid, Port *port);
    /* The connection `vid` of `port` has ended, and MemoryGuard forgets it. The library may have
     * given the number to another port's connection by now, which is left alone. */
    void clear_connection(int vid, Port *port);
    /* Null for a connection that was refused. Takes no lock. */
    Port *connection(int vid) const;

  private:
    /* RTE_MAX_VHOST_DEVICE of the library (lib/vhost/rte_vhost.h). */
    static constexpr size_t max_connections = 1024;

    std::mutex mutex_;
    std::unordered_map<std::string, Port *> ports_;
    std::mutex connections_mutex_;  // of who changes them
    std::array<std::atomic<Port *>, max_connections> connections_{};
};

}  // namespace vdpa::engine::vhost
