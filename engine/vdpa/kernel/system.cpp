// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/system.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace vdpa::engine::kernel {

namespace {

class HostSystem final : public System {
  public:
    int open(const char *path) override {
        const int fd = ::open(path, O_RDWR | O_CLOEXEC);
        return fd >= 0 ? fd : -errno;
    }

    void close(int fd) override { ::close(fd); }

    int ioctl(int fd, unsigned long request, void *argument) override {
        const int result = ::ioctl(fd, request, argument);
        return result >= 0 ? result : -errno;
    }

    ssize_t write(int fd, const void *bytes, size_t size) override {
        const ssize_t result = ::write(fd, bytes, size);
        return result >= 0 ? result : -errno;
    }

    uint64_t memory_size() override {
        return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
               static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    }

    uint64_t lockable_memory() override {
        rlimit limit{};
        if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
            return UINT64_MAX;
        }
        return limit.rlim_cur;
    }

    uint64_t map_entries() override {
        std::ifstream file("/sys/module/vhost_vdpa/parameters/max_iotlb_entries");
        uint64_t entries = 0;
        return file >> entries ? entries : UINT64_MAX;
    }

    void forget_pages(uint64_t address, uint64_t size) override {
        ::madvise(reinterpret_cast<void *>(address), size, MADV_DONTNEED);
    }
};

}  // namespace

System &host_system() {
    static HostSystem system;
    return system;
}

}  // namespace vdpa::engine::kernel
