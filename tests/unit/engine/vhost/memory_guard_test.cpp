// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/memory_guard.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>

#include "engine/vhost/registry.hpp"

namespace vdpa::engine::vhost {
namespace {

constexpr size_t page = 4096;
constexpr size_t huge_page = size_t{2} << 20;

/* A file that is mapped here, as the vhost library maps a front-end's. Throws std::system_error
 * where that does not work. */
class SharedFile {
  public:
    explicit SharedFile(size_t size, unsigned flags = 0)
        : fd(::memfd_create("memory", MFD_CLOEXEC | flags)),
          bytes(map(fd.get(), size)),
          size_(size) {}
    ~SharedFile() { ::munmap(const_cast<char *>(bytes), size_); }
    SharedFile(const SharedFile &) = delete;
    SharedFile &operator=(const SharedFile &) = delete;

    SharedArea area(size_t page_size = page) const {
        return {.begin = reinterpret_cast<uintptr_t>(bytes), .size = size_, .page_size = page_size};
    }
    void truncate(size_t to) const { EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(to)), 0); }

    const UniqueFd fd;
    volatile char *const bytes;

  private:
    static volatile char *map(int fd, size_t size) {
        void *mapped = MAP_FAILED;
        if (::ftruncate(fd, static_cast<off_t>(size)) == 0) {
            mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        }
        if (mapped == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "a file of shared memory");
        }
        return static_cast<volatile char *>(mapped);
    }

    const size_t size_;
};

class MemoryGuardTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(guard.install()); }
    void TearDown() override {
        MemoryGuard::end_message();
        for (const int vid : {3, 4}) {
            guard.forget(vid);
        }
        guard.lost();
    }
    bool told() const {
        pollfd entry{.fd = guard.fd(), .events = POLLIN, .revents = 0};
        return ::poll(&entry, 1, 0) == 1;
    }
    void protect(int vid, const SharedArea &area) { guard.protect_memory(vid, std::array{area}); }

    MemoryGuard &guard = MemoryGuard::instance();
};

/* The library gives the number of a connection away as soon as it has ended, before the port whose
 * it was knows. */
TEST_F(MemoryGuardTest, AConnectionStaysProtectedWhenAnEarlierOneOfItsNumberIsForgotten) {
    auto &registry = Registry::instance();
    std::array<char, 2> ports{};
    auto *const first = reinterpret_cast<Port *>(&ports[0]);
    auto *const second = reinterpret_cast<Port *>(&ports[1]);
    const SharedFile earlier(4 * page);
    const SharedFile file(4 * page);
    registry.set_connection(3, first);
    protect(3, earlier.area());
    registry.set_connection(3, second);
    EXPECT_FALSE(guard.replace(earlier.area().begin)) << "that is nobody's memory any more";
    protect(3, file.area());
    registry.clear_connection(3, first);
    EXPECT_EQ(registry.connection(3), second);
    file.truncate(page);
    EXPECT_EQ(file.bytes[3 * page], 0);
    EXPECT_TRUE(guard.take_lost(3));

    registry.clear_connection(3, second);
    EXPECT_EQ(registry.connection(3), nullptr);
    EXPECT_FALSE(guard.replace(file.area().begin));
}

TEST_F(MemoryGuardTest, WhatWasTruncatedIsZeroAndNamesItsConnection) {
    const SharedFile file(4 * page);
    const SharedFile other(4 * page);
    protect(3, file.area());
    protect(4, other.area());
    file.bytes[0] = 'a';
    file.bytes[3 * page] = 'b';
    other.bytes[3 * page] = 'c';
    EXPECT_FALSE(told());
    file.truncate(page);
    EXPECT_EQ(file.bytes[3 * page], 0);
    file.bytes[3 * page] = 'd';
    EXPECT_EQ(file.bytes[3 * page], 'd');
    EXPECT_EQ(file.bytes[page], 0) << "below the first that was missed";
    EXPECT_EQ(file.bytes[0], 'a') << "what is there stays";
    EXPECT_EQ(other.bytes[3 * page], 'c');
    EXPECT_TRUE(told());
    EXPECT_EQ(guard.lost(), std::vector<int>{3});
    EXPECT_FALSE(told());
    EXPECT_TRUE(guard.take_lost(3));
    EXPECT_FALSE(guard.take_lost(3));
    EXPECT_FALSE(guard.take_lost(4));
}

TEST_F(MemoryGuardTest, ManyThreadsMayMissItAtOnce) {
    const SharedFile file(256 * page);
    protect(3, file.area());
    file.truncate(0);
    std::atomic<bool> go{false};
    std::array<std::thread, 4> threads;
    for (size_t index = 0; index < threads.size(); ++index) {
        threads[index] = std::thread([&, index] {
            while (!go) {
            }
            for (size_t n = 0; n < 256; ++n) {
                file.bytes[n * page + index] = 1;
            }
        });
    }
    go = true;
    for (std::thread &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(guard.lost(), std::vector<int>{3});
}

TEST_F(MemoryGuardTest, TheDirtyLogIsGuardedBesideTheMemory) {
    const SharedFile memory(page);
    const SharedFile log(page);
    protect(3, memory.area());
    guard.protect_log(3, std::array{log.area()});
    log.truncate(0);
    log.bytes[0] = 1;
    EXPECT_TRUE(guard.take_lost(3));
    memory.truncate(0);
    EXPECT_EQ(memory.bytes[0], 0);
    EXPECT_TRUE(guard.take_lost(3));
}

TEST_F(MemoryGuardTest, WhatAMessageBringsIsGuardedWhileItIsHandled) {
    const SharedFile file(page);
    file.truncate(0);
    MemoryGuard::begin_message(4);
    EXPECT_EQ(file.bytes[0], 0);
    MemoryGuard::end_message();
    EXPECT_EQ(guard.lost(), std::vector<int>{4});
}

TEST_F(MemoryGuardTest, HugePagesAreReplacedWhole) {
    std::optional<SharedFile> file;
    try {
        file.emplace(2 * huge_page, MFD_HUGETLB);
    } catch (const std::system_error &error) {
        GTEST_SKIP() << "no hugepages of 2 MiB: " << error.what();
    }
    protect(3, file->area(huge_page));
    file->truncate(0);
    EXPECT_EQ(file->bytes[huge_page + page], 0);
    EXPECT_EQ(file->bytes[page], 0);
    EXPECT_TRUE(guard.take_lost(3));
    const SharedFile unknown(huge_page, MFD_HUGETLB);
    unknown.truncate(0);
    MemoryGuard::begin_message(3);
    EXPECT_EQ(unknown.bytes[page], 0);
    EXPECT_TRUE(guard.take_lost(3));
}

TEST_F(MemoryGuardTest, AnEndedConnectionHasLostNothing) {
    const SharedFile file(page);
    protect(3, file.area());
    file.truncate(0);
    EXPECT_EQ(file.bytes[0], 0);
    guard.forget(3);
    EXPECT_TRUE(guard.lost().empty());
    EXPECT_FALSE(guard.take_lost(3));
}

TEST_F(MemoryGuardTest, NumbersThatTheLibraryDoesNotUseAreIgnored) {
    const SharedFile file(page);
    protect(-1, file.area());
    protect(1024, file.area());
    EXPECT_FALSE(guard.take_lost(-1));
    EXPECT_FALSE(guard.take_lost(1024));
}

using MemoryGuardDeathTest = MemoryGuardTest;

TEST_F(MemoryGuardDeathTest, OtherMemoryIsAsFatalAsEver) {
    const SharedFile file(page);
    file.truncate(0);
    EXPECT_DEATH({ file.bytes[0] = 1; }, "");
    const SharedFile was(page);
    protect(3, was.area());
    guard.protect_memory(3, {});
    was.truncate(0);
    EXPECT_DEATH({ was.bytes[0] = 1; }, "");
}

}  // namespace
}  // namespace vdpa::engine::vhost
