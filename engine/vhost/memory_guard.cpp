// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/memory_guard.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <rte_vhost.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>

namespace vdpa::engine::vhost {

namespace {

constexpr size_t small_page = 4096;
constexpr std::array<size_t, 3> page_sizes = {small_page, size_t{2} << 20, size_t{1} << 30};

thread_local int message_of = -1;

struct sigaction previous;

extern "C" void on_sigbus(int number, siginfo_t *info, void *context) {
    const int saved_errno = errno;
    // BUS_ADRERR: no such page in the file. BUS_MCEERR_AR: the page is broken.
    const bool lost = info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR;
    if (lost && MemoryGuard::instance().replace(reinterpret_cast<uintptr_t>(info->si_addr))) {
        errno = saved_errno;
        return;
    }
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else {
        std::signal(SIGBUS, SIG_DFL);  // and the access is made again
    }
    errno = saved_errno;
}

}  // namespace

MemoryGuard &MemoryGuard::instance() {
    // Never destroyed: the library's threads go on until the process ends. Made by install(), which
    // is before the handler can ask for it.
    static auto *const guard = new MemoryGuard;
    return *guard;
}

Expected<void> MemoryGuard::install() {
    if (event_) {
        return {};
    }
    event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (!event_ || ::sigaction(SIGBUS, &action, &previous) != 0) {
        return fail(schema::Reason::engine_error,
                    "cannot prepare for memory that front-ends take away: " + errno_text(errno));
    }
    return {};
}

std::vector<int> MemoryGuard::lost() {
    eventfd_t count = 0;
    ::eventfd_read(event_.get(), &count);
    std::vector<int> vids;
    for (size_t n = 0; n < connections_.size(); ++n) {
        if (connections_[n].lost.load()) {
            vids.push_back(static_cast<int>(n));
        }
    }
    return vids;
}

bool MemoryGuard::take_lost(int vid) {
    Connection *const found = connection(vid);
    return found != nullptr && found->lost.exchange(false);
}

MemoryGuard::Connection *MemoryGuard::connection(int vid) {
    return vid >= 0 && static_cast<size_t>(vid) < connections_.size()
               ? &connections_[static_cast<size_t>(vid)]
               : nullptr;
}

void MemoryGuard::protect_memory(int vid, std::span<const SharedArea> areas) {
    if (Connection *const found = connection(vid)) {
        set(std::span(found->areas).first(memory_areas), areas);
    }
}

void MemoryGuard::protect_log(int vid, std::span<const SharedArea> area) {
    if (Connection *const found = connection(vid)) {
        set(std::span(found->areas).last(1), area);
    }
}

void MemoryGuard::forget(int vid) {
    if (Connection *const found = connection(vid)) {
        set(found->areas, {});
        found->lost = false;
    }
}

void MemoryGuard::set(std::span<Area> slots, std::span<const SharedArea> areas) {
    for (Area &slot : slots) {
        slot.begin = 0;
    }
    for (size_t n = 0; n < std::min(slots.size(), areas.size()); ++n) {
        slots[n].page_size = areas[n].page_size;
        slots[n].end = areas[n].begin + areas[n].size;
        slots[n].begin = areas[n].begin;
    }
}

void MemoryGuard::begin_message(int vid) {
    message_of = vid;
}

void MemoryGuard::end_message() {
    message_of = -1;
}

/* What follows is run by the handler: atomics and system calls only. */

bool MemoryGuard::map_zeros(uintptr_t begin, size_t size) {
    // Not mmap(), which sanitizers replace.
    return ::syscall(SYS_mmap, begin, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != -1;
}

void MemoryGuard::note_lost(Connection &connection) {
    connection.lost = true;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
}

bool MemoryGuard::replace(uintptr_t address) {
    for (Connection &candidate : connections_) {
        for (Area &area : candidate.areas) {
            const uintptr_t begin = area.begin;
            const uintptr_t end = area.end;
            const size_t page_size = area.page_size;
            if (begin == 0 || address < begin || address >= end || area.begin != begin) {
                continue;
            }
            // A file that was cut short has nothing from here on: one mapping for all of it.
            const uintptr_t page = begin + (address - begin) / page_size * page_size;
            if (!map_zeros(page, end - page)) {
                return false;
            }
            note_lost(candidate);
            return true;
        }
    }
    Connection *const found = connection(message_of);
    if (found == nullptr) {
        return false;
    }
    // Part of a huge page cannot be replaced (EINVAL).
    const bool replaced = std::any_of(page_sizes.begin(), page_sizes.end(), [address](size_t size) {
        return map_zeros(address / size * size, size);
    });
    if (replaced) {
        note_lost(*found);
    }
    return replaced;
}

std::vector<SharedArea> shared_memory_of(int vid) {
    rte_vhost_memory *raw = nullptr;
    if (rte_vhost_get_mem_table(vid, &raw) != 0) {
        return {};
    }
    const std::unique_ptr<rte_vhost_memory, decltype(&std::free)> table(raw, &std::free);
    std::vector<SharedArea> areas;
    for (uint32_t n = 0; n < table->nregions; ++n) {
        const rte_vhost_mem_region &region = table->regions[n];
        // Only memory file systems know seals, and they answer at once.
        struct statfs system {};
        const bool huge = ::fcntl(region.fd, F_GET_SEALS) >= 0 &&
                          ::fstatfs(region.fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
        const size_t page = huge ? static_cast<size_t>(system.f_bsize) : small_page;
        areas.push_back({.begin = reinterpret_cast<uintptr_t>(region.mmap_addr),
                         .size = (region.mmap_size + page - 1) / page * page,
                         .page_size = page});
    }
    return areas;
}

std::vector<SharedArea> dirty_log_of(int vid) {
    uint64_t base = 0;
    uint64_t size = 0;
    if (rte_vhost_get_log_base(vid, &base, &size) != 0 || base == 0) {
        return {};
    }
    return {{.begin = base,
             .size = (size + small_page - 1) / small_page * small_page,
             .page_size = small_page}};
}

}  // namespace vdpa::engine::vhost
