// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* A piece of memory that a front-end shares with us, as it is mapped here. */
struct SharedArea {
    uintptr_t begin;
    size_t size;       // bytes
    size_t page_size;  // bytes, of what is mapped; `begin` and `size` are multiples of it
};

/* Keeps a front-end that truncates the file of its memory from ending the engine. Whoever touches
 * such memory, worker or vhost library, gets SIGBUS: the handler puts zeros where the file was, so
 * that the thread goes on, and notes the connection, which is to be ended then. Memory that nobody
 * shared is as fatal as ever. (memfd_create(2), F_SEAL_SHRINK, would rule it out; QEMU's memfd
 * backend has the seal, its file backend and other front-ends do not.)
 *
 * Connections go by the vhost library's number, the vid. One for the process; thread-safe.
 *
 * A limit: while DPDK takes further hugepages it has a handler of its own in the place of ours
 * (DPDK 22.11, lib/eal/linux/eal_memalloc.c, huge_register_sigbus). */
class MemoryGuard {
  public:
    static MemoryGuard &instance();

    /* Takes SIGBUS over, once, after the EAL has started. Error: engine-error. */
    Expected<void> install();
    /* Readable when a connection has lost memory; for poll(). */
    int fd() const { return event_.get(); }
    /* Those that have, at this time; makes fd() unreadable. */
    std::vector<int> lost();
    /* Whether this one has, since it was forgotten or this was asked last. */
    bool take_lost(int vid);

    /* The areas of the connection are these, in the place of earlier ones. An area may be unmapped
     * only when it is no longer known here. */
    void protect_memory(int vid, std::span<const SharedArea> areas);
    void protect_log(int vid, std::span<const SharedArea> area);
    /* The connection has ended. */
    void forget(int vid);

    /* Between the two, what this thread touches and cannot have is memory of the connection even if
     * it is not known yet: the library uses what a message brings while it handles that message. */
    static void begin_message(int vid);
    static void end_message();

    /* For the signal handler. */
    bool replace(uintptr_t address);

  private:
    static constexpr size_t max_connections = 1024;  // RTE_MAX_VHOST_DEVICE of the library
    static constexpr size_t memory_areas = 8;        // VHOST_MEMORY_MAX_NREGIONS of the library

    /* Read by the handler at any time: `begin` is 0 while the others are being written. */
    struct Area {
        std::atomic<uintptr_t> begin{0};
        std::atomic<uintptr_t> end{0};
        std::atomic<size_t> page_size{0};
    };
    struct Connection {
        std::array<Area, memory_areas + 1> areas;  // the last is the dirty log
        std::atomic<bool> lost{false};
    };

    static void set(std::span<Area> slots, std::span<const SharedArea> areas);
    static bool map_zeros(uintptr_t begin, size_t size);
    Connection *connection(int vid);
    void note_lost(Connection &connection);

    std::array<Connection, max_connections> connections_;
    UniqueFd event_;
};

/* What the library has mapped for the connection: its memory table, which must have been set, and
 * its dirty log, if any. */
std::vector<SharedArea> shared_memory_of(int vid);
std::vector<SharedArea> dirty_log_of(int vid);

}  // namespace vdpa::engine::vhost
