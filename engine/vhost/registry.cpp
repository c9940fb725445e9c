// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/registry.hpp"

#include "engine/vhost/memory_guard.hpp"
#include "engine/vhost/port.hpp"

namespace vdpa::engine::vhost {

Registry &Registry::instance() {
    // Never destroyed: the library's threads, and its log, go on until the process ends.
    static auto *const registry = new Registry;
    return *registry;
}

bool Registry::add(const std::string &library_path, Port &port) {
    const std::lock_guard lock(mutex_);
    return ports_.emplace(library_path, &port).second;
}

void Registry::remove(const std::string &library_path) {
    const std::lock_guard lock(mutex_);
    ports_.erase(library_path);
}

Port *Registry::find(const std::string &library_path) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(library_path);
    return found == ports_.end() ? nullptr : found->second;
}

std::string Registry::display_name(const std::string &library_path) {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(library_path);
    return found == ports_.end() ? library_path : found->second->name();
}

void Registry::set_connection(int vid, Port *port) {
    if (vid >= 0 && static_cast<size_t>(vid) < max_connections) {
        const std::lock_guard lock(connections_mutex_);
        MemoryGuard::instance().forget(vid);
        connections_[static_cast<size_t>(vid)].store(port, std::memory_order_release);
    }
}

void Registry::clear_connection(int vid, Port *port) {
    if (vid >= 0 && static_cast<size_t>(vid) < max_connections) {
        // In one: a connection that gets the number in between would lose its protection for good.
        const std::lock_guard lock(connections_mutex_);
        if (connections_[static_cast<size_t>(vid)].compare_exchange_strong(port, nullptr)) {
            MemoryGuard::instance().forget(vid);
        }
    }
}

Port *Registry::connection(int vid) const {
    if (vid < 0 || static_cast<size_t>(vid) >= max_connections) {
        return nullptr;
    }
    return connections_[static_cast<size_t>(vid)].load(std::memory_order_acquire);
}

}  // namespace vdpa::engine::vhost
