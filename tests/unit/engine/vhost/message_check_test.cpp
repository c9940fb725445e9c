// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/message_check.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {
namespace {

constexpr uint64_t everything_of_ours =
    bit(ProtocolFeature::mq) | bit(ProtocolFeature::log_shmfd) | bit(ProtocolFeature::reply_ack) |
    bit(ProtocolFeature::net_mtu) | bit(ProtocolFeature::backend_req) |
    bit(ProtocolFeature::config) | bit(ProtocolFeature::status);

std::string refused(const Message &message, uint64_t offered = everything_of_ours) {
    const char *why = refusal(message, offered);
    return why ? why : "";
}

/* A file of `size` bytes, as a front-end shares it. */
UniqueFd file_of(off_t size) {
    UniqueFd fd(::memfd_create("shared", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(fd.get(), size), 0);
    return fd;
}

Message message_of(Request request, uint32_t size) {
    Message message{};
    message.request = static_cast<uint32_t>(request);
    message.size = size;
    return message;
}

class MemoryTableTest : public testing::Test {
  protected:
    static constexpr off_t file_size = 1 << 20;

    std::string refused_with(const std::vector<MemoryRegion> &regions) {
        Message message =
            message_of(Request::set_mem_table,
                       static_cast<uint32_t>(8 + regions.size() * sizeof(MemoryRegion)));
        message.payload.memory.region_count = static_cast<uint32_t>(regions.size());
        for (size_t i = 0; i < regions.size(); ++i) {
            message.payload.memory.regions[i] = regions[i];
            message.fds[i] = file_.get();
        }
        message.fd_count = static_cast<int>(regions.size());
        return refused(message);
    }

    const UniqueFd file_ = file_of(file_size);
};

TEST_F(MemoryTableTest, OrdinaryTablesPass) {
    EXPECT_EQ(refused_with({{0, file_size, 0x7f0000000000, 0}}), "");
    EXPECT_EQ(refused_with({{0, 0xa0000, 0x1000, 0}, {0xc0000, 0x40000, 0xc1000, 0xc0000}}), "");
    EXPECT_EQ(refused_with({{0, 0x1000, 0, 0}, {0x1000, 0x1000, 0, 0x1000}}), "")
        << "regions may touch";
    EXPECT_EQ(refused_with(std::vector<MemoryRegion>{}), "");
}

TEST_F(MemoryTableTest, RegionsOutsideOfTheirFileAreRefused) {
    const std::string why = "a memory region reaches past the end of its file";
    EXPECT_EQ(refused_with({{0, file_size + 1, 0, 0}}), why);
    EXPECT_EQ(refused_with({{0, file_size, 0, 1}}), why);
    EXPECT_EQ(refused_with({{0, 1, 0, file_size}}), why);
    EXPECT_EQ(refused_with({{0, 0x1000, 0, ~uint64_t{0}}}), why);
    EXPECT_EQ(refused_with({{0, uint64_t{1} << 62, 0, 0}}), why);
    EXPECT_EQ(refused_with({{0, 0x1000, 0, 0}, {0x1000, file_size, 0, 0x1000}}), why);
}

TEST_F(MemoryTableTest, RegionsThatOverlapAreRefused) {
    const std::string why = "memory regions overlap";
    EXPECT_EQ(refused_with({{0, 0x2000, 0, 0}, {0x1000, 0x1000, 0, 0}}), why);
    EXPECT_EQ(refused_with({{0x1000, 0x1000, 0, 0}, {0, 0x4000, 0, 0}}), why);
    EXPECT_EQ(refused_with({{0x1000, 0x1000, 0, 0}, {0x8000, 0x1000, 0, 0}, {0x1000, 1, 0, 0}}),
              why);
}

TEST_F(MemoryTableTest, RegionsThatWrapAroundOrAreEmptyAreRefused) {
    const std::string why = "a memory region is empty or wraps around";
    EXPECT_EQ(refused_with({{~uint64_t{0} - 0xfff, 0x2000, 0, 0}}), why);
    EXPECT_EQ(refused_with({{0, 0x2000, ~uint64_t{0} - 0xfff, 0}}), why);
    EXPECT_EQ(refused_with({{0, 0, 0, 0}}), why);
}

TEST_F(MemoryTableTest, CountsThatDoNotAgreeAreRefused) {
    Message message = message_of(Request::set_mem_table, 8 + sizeof(MemoryRegion));
    message.payload.memory.region_count = 1;
    EXPECT_NE(refused(message), "") << "no file";
    message.payload.memory.region_count = 9;
    message.fd_count = 8;
    EXPECT_NE(refused(message), "") << "more than there is room for";
    message.payload.memory.region_count = ~uint32_t{0};
    EXPECT_NE(refused(message), "");
    message = message_of(Request::set_mem_table, 8 + sizeof(MemoryRegion) - 1);
    message.payload.memory.region_count = 1;
    message.fds[0] = file_.get();
    message.fd_count = 1;
    EXPECT_EQ(refused(message), "the message is too short");
}

TEST_F(MemoryTableTest, AFileThatIsNoneIsRefused) {
    Message message = message_of(Request::set_mem_table, 8 + sizeof(MemoryRegion));
    message.payload.memory.region_count = 1;
    message.payload.memory.regions[0] = {0, 0x1000, 0, 0};
    message.fds[0] = -1;
    message.fd_count = 1;
    EXPECT_EQ(refused(message), "a memory region reaches past the end of its file");
}

TEST_F(MemoryTableTest, FilesThatCannotBeMappedAreRefused) {
    const std::string why = "the file of a memory region cannot be mapped to be read and written";
    const UniqueFd event(::eventfd(0, 0));
    const UniqueFd unwritable(
        ::open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(unwritable);
    for (const int fd : {event.get(), unwritable.get()}) {
        Message message = message_of(Request::set_mem_table, 8 + 2 * sizeof(MemoryRegion));
        message.payload.memory.region_count = 2;
        message.payload.memory.regions[0] = {0, 0x1000, 0, 0};
        message.payload.memory.regions[1] = {0x1000, 0x1000, 0, 0};
        message.fds[0] = file_.get();
        message.fds[1] = fd;
        message.fd_count = 2;
        EXPECT_EQ(refused(message), why);
    }
}

TEST_F(MemoryTableTest, LargeTablesCostNoMemory) {
    constexpr off_t terabyte = off_t{1} << 40;
    const UniqueFd large = file_of(terabyte);
    Message message = message_of(Request::set_mem_table, 8 + sizeof(MemoryRegion));
    message.payload.memory.region_count = 1;
    message.payload.memory.regions[0] = {0, terabyte, 0, 0};
    message.fds[0] = large.get();
    message.fd_count = 1;
    EXPECT_EQ(refused(message), "");
    struct stat file {};
    ASSERT_EQ(::fstat(large.get(), &file), 0);
    EXPECT_EQ(file.st_blocks, 0);
}

TEST_F(MemoryTableTest, TablesThatUseUpTheAddressesAreRefused) {
    constexpr uint64_t terabyte = uint64_t{1} << 40;
    const UniqueFd large = file_of(static_cast<off_t>(60 * terabyte));
    // Each of the regions can be mapped alone; the first two cannot be mapped both, and the others
    // leave next to nothing of 128 TiB.
    for (const auto &[first, second] : {std::pair(60, 60), std::pair(60, 36)}) {
        Message message = message_of(Request::set_mem_table, 8 + 2 * sizeof(MemoryRegion));
        message.payload.memory.region_count = 2;
        message.payload.memory.regions[0] = {0, first * terabyte, 0, 0};
        message.payload.memory.regions[1] = {64 * terabyte, second * terabyte, 0, 0};
        message.fds[0] = message.fds[1] = large.get();
        message.fd_count = 2;
        EXPECT_NE(refused(message), "") << second;
    }
}

TEST(EventDescriptors, AreEventfdsOrUnixSockets) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const UniqueFd socket(ends[0]);
    const UniqueFd peer(ends[1]);
    const UniqueFd event(::eventfd(0, 0));
    const UniqueFd file = file_of(0x1000);
    for (const Request request : {Request::set_vring_kick, Request::set_vring_call}) {
        Message message = message_of(request, sizeof(uint64_t));
        message.fd_count = 1;
        message.fds[0] = event.get();
        EXPECT_EQ(refused(message), "");
        message.fds[0] = socket.get();
        EXPECT_EQ(refused(message), "");
        message.fds[0] = file.get();
        EXPECT_EQ(refused(message), "its descriptor is neither an eventfd nor a unix socket");
        message.payload.u64 = 1U << 8;  // says that there is none
        message.fd_count = 0;
        EXPECT_EQ(refused(message), "");
    }
}

TEST(DirtyLog, HasToLieInItsFileFromTheBeginningOn) {
    const UniqueFd file = file_of(0x1000);
    Message message = message_of(Request::set_log_base, sizeof(LogBase));
    message.fds[0] = file.get();
    message.fd_count = 1;
    message.payload.log = {.mmap_size = 0x1000, .mmap_offset = 0};
    EXPECT_EQ(refused(message), "");
    message.payload.log = {.mmap_size = 0x1001, .mmap_offset = 0};
    EXPECT_EQ(refused(message), "the dirty log reaches past the end of its file");
    message.payload.log = {.mmap_size = 0x100, .mmap_offset = 0x800};
    EXPECT_EQ(refused(message), "the dirty log does not begin at the beginning of its file");
    message.fd_count = 0;
    EXPECT_EQ(refused(message), "a dirty log is one file");
}

TEST(Requests, OfFeaturesThatWereNotOfferedAreRefused) {
    // SEND_RARP, IOTLB_MSG, crypto sessions, postcopy, in-flight buffers; and what does not exist.
    for (const uint32_t request : {0U, 19U, 22U, 23U, 26U, 27U, 28U, 29U, 30U, 31U, 32U, 33U, 38U,
                                   41U, 1000U, 0xffffffffU}) {
        Message message = message_of(Request{request}, 632);
        EXPECT_NE(refused(message, ~uint64_t{0}), "") << request;
    }
    const std::vector<std::pair<Request, ProtocolFeature>> pairs = {
        {Request::get_queue_num, ProtocolFeature::mq},
        {Request::net_set_mtu, ProtocolFeature::net_mtu},
        {Request::set_backend_req_fd, ProtocolFeature::backend_req},
        {Request::get_config, ProtocolFeature::config},
        {Request::set_config, ProtocolFeature::config},
        {Request::set_status, ProtocolFeature::status},
        {Request::get_status, ProtocolFeature::status}};
    for (const auto &[request, feature] : pairs) {
        const Message message = message_of(request, 8);
        EXPECT_EQ(refused(message), "");
        EXPECT_NE(refused(message, everything_of_ours & ~bit(feature)), "");
    }
}

TEST(Requests, WithAPayloadThatIsTooShortAreRefused) {
    for (const Request request :
         {Request::set_features, Request::set_vring_num, Request::set_vring_base,
          Request::get_vring_base, Request::set_vring_kick, Request::set_vring_call,
          Request::set_vring_err, Request::set_vring_enable, Request::set_protocol_features,
          Request::net_set_mtu, Request::set_status}) {
        EXPECT_EQ(refused(message_of(request, 7)), "the message is too short");
        EXPECT_EQ(refused(message_of(request, 8)), "");
    }
    EXPECT_EQ(refused(message_of(Request::set_vring_addr, 39)), "the message is too short");
    EXPECT_EQ(refused(message_of(Request::set_vring_addr, 40)), "");
    EXPECT_EQ(refused(message_of(Request::get_features, 0)), "");
    EXPECT_EQ(refused(message_of(Request::set_owner, 0)), "");
}

TEST(Requests, TheRingIsFoundWhereItIs) {
    Message message = message_of(Request::set_vring_kick, 8);
    message.payload.u64 = 0x105;
    EXPECT_EQ(ring_of(message), 5U);
    message = message_of(Request::set_vring_enable, 8);
    message.payload.state = {.index = 7, .num = 1};
    EXPECT_EQ(ring_of(message), 7U);
    message = message_of(Request::set_vring_addr, 40);
    message.payload.addresses.ring = 9;
    EXPECT_EQ(ring_of(message), 9U);
    EXPECT_EQ(ring_of(message_of(Request::get_features, 0)), std::nullopt);
}

}  // namespace
}  // namespace vdpa::engine::vhost
