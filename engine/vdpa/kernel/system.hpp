// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace vdpa::engine::kernel {

/* The system calls on a vhost-vdpa character device, so that tests can be the kernel. Thread-safe.
 * What fails returns a negative errno. */
class System {
  public:
    virtual ~System() = default;

    /* open(path, O_RDWR | O_CLOEXEC). */
    virtual int open(const char *path) = 0;
    virtual void close(int fd) = 0;
    virtual int ioctl(int fd, unsigned long request, void *argument) = 0;
    virtual ssize_t write(int fd, const void *bytes, size_t size) = 0;
    /* Bytes of memory that this host has. */
    virtual uint64_t memory_size() = 0;
    /* What RLIMIT_MEMLOCK lets this process lock; UINT64_MAX when there is no limit. */
    virtual uint64_t lockable_memory() = 0;
    /* How many entries vhost_vdpa has for the memory of a device (its parameter max_iotlb_entries);
     * UINT64_MAX when this kernel sets no limit. */
    virtual uint64_t map_entries() = 0;
    /* Takes memory out of this process's page tables, not out of the file that it is part of:
     * madvise(MADV_DONTNEED) of a shared mapping. Where that is not possible nothing happens. */
    virtual void forget_pages(uint64_t address, uint64_t size) = 0;
};

/* The running kernel. */
System &host_system();

}  // namespace vdpa::engine::kernel
