// SPDX-License-Identifier: Apache-2.0
// Each call fails once, front-ends do what they may not, devices go.
#include <gmock/gmock.h>
#include <rte_vdpa.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <future>

#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using schema::Reason;
using test::fail_call;
using test::FrontEnd;
using test::take_calls;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Request = FrontEnd::Request;

struct Failing {
    const char *call;
    int result;
    Reason reason;
};

class OpeningTest : public PortFixture, public testing::WithParamInterface<Failing> {};

TEST_P(OpeningTest, FailsForANamedReasonAndLeavesNothing) {
    const Failing &failing = GetParam();
    fail_call(failing.call, 1, failing.result);
    auto port = create(spec("vdpa_test0"));
    auto started = port ? (*port)->start(nullptr) : tl::make_unexpected(port.error());
    ASSERT_FALSE(started) << failing.call;
    EXPECT_EQ(started.error().reason, failing.reason) << started.error().detail;
    EXPECT_THAT(started.error().detail,
                testing::AnyOf(HasSubstr("vdpa_test0"), HasSubstr("vm1.sock")));
    port = tl::make_unexpected(Error{});
    const auto calls = take_calls();
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "probe vdpa_test0"),
              std::count(calls.begin(), calls.end(), "remove vdpa_test0") +
                  (std::string(failing.call) == "probe" ? 1 : 0))
        << "what was plugged was unplugged";
    EXPECT_EQ(rte_vdpa_find_device_by_name("vdpa_test0"), nullptr);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "vm1.sock"));

    auto again = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_TRUE(guest.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
}

INSTANTIATE_TEST_SUITE_P(
    EachCall, OpeningTest,
    testing::Values(Failing{"rte_dev_probe", -ENODEV, Reason::device_missing},
                    Failing{"rte_dev_probe", -EBUSY, Reason::device_busy},
                    Failing{"rte_dev_probe", -ENOTSUP, Reason::device_unsupported},
                    Failing{"rte_dev_probe", -EIO, Reason::device_failed},
                    Failing{"probe", -EBUSY, Reason::device_busy},
                    Failing{"rte_vdpa_find_device_by_name", -1, Reason::device_unsupported},
                    Failing{"get_queue_num", -1, Reason::device_failed},
                    Failing{"get_features", -1, Reason::device_failed},
                    Failing{"get_protocol_features", -1, Reason::device_failed},
                    Failing{"rte_vhost_driver_register", -1, Reason::socket_failed},
                    Failing{"rte_vhost_driver_callback_register", -1, Reason::socket_failed},
                    Failing{"rte_vhost_driver_attach_vdpa_device", -1, Reason::device_failed},
                    Failing{"rte_vhost_driver_start", -1, Reason::socket_failed}),
    [](const auto &parameter) {
        return std::string(parameter.param.call) + std::to_string(-parameter.param.result);
    });

class FailureTest : public PortFixture {
  protected:
    /* Two rings, without the last message that would start the device. */
    void prepare(FrontEnd &guest) {
        ASSERT_TRUE(guest.negotiate());
        ASSERT_TRUE(guest.share_memory());
        for (uint32_t ring = 0; ring < 2; ++ring) {
            guest.set_up_ring(ring);
        }
        guest.enable_ring(0, true);
        ASSERT_TRUE(guest.settled());
    }
};

TEST_F(FailureTest, ADeviceThatCannotBeUnpluggedIsTakenAgain) {
    auto port = serve(spec("vdpa_test0"));
    fail_call("rte_dev_remove", 1, -EBUSY);
    port.reset();
    port = serve(spec("vdpa_test0"));
    ASSERT_TRUE(port);
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_TRUE(guest.start(1));
}

TEST_F(FailureTest, ADeviceThatCannotBeConfiguredIsSaidSoAndTriedAgain) {
    auto port = serve(spec("vdpa_test0"));
    fail_call("dev_conf", 2, -5);
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    ASSERT_TRUE(eventually([](const auto &live) { return reason_of(live) == "device-failed"; }));
    EXPECT_EQ(live().queues, 0U);
    EXPECT_TRUE(live().connected) << "the front-end need not connect again";
    EXPECT_THAT(live().datapath.fault->detail,
                HasSubstr("the driver of vdpa_test0 could not configure it (-5)"));
    // The library must not try at every message: some drivers take seconds to fail.
    take_calls();
    EXPECT_TRUE(guest.settled());
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));

    port->retry();
    ASSERT_TRUE(eventually([](const auto &live) { return live.queues == 0; }));
    EXPECT_TRUE(eventually_checking(*port, [](const auto &live) { return live.queues == 1; }));
    EXPECT_EQ(reason_of(live()), "");
}

TEST_F(FailureTest, ADeviceThatStillFailsWhenTheFrontEndGoesIsFineForTheNext) {
    auto port = serve(spec("vdpa_test0"));
    fail_call("dev_conf", 1, -1);
    {
        FrontEnd guest(folder_ / "vm1.sock");
        ASSERT_TRUE(guest.start(1));
        ASSERT_TRUE(eventually([](const auto &live) { return live.datapath.fault.has_value(); }));
    }
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    EXPECT_EQ(reason_of(live()), "");
    EXPECT_THAT(take_calls(), Not(Contains("dev_close"))) << "it was not configured";
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_TRUE(guest.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
}

TEST_F(FailureTest, ADeviceThatCannotBeStoppedInOrderHindersNobody) {
    auto port = serve(spec("vdpa_test0"));
    for (const char *call : {"dev_close", "dev_cleanup", "set_vring_state", "set_features"}) {
        FrontEnd guest(folder_ / "vm1.sock");
        fail_call(call, 1, -1);
        ASSERT_TRUE(guest.start(1)) << call;
        EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; })) << call;
        guest.hang_up();
        ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; })) << call;
    }
}

TEST_F(FailureTest, WithoutALogOfDirtyPagesAMigrationCannotGoOn) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    fail_call("set_features", 1, -1);
    guest.send_u64(Request::set_features, guest.negotiated() | uint64_t{1} << 26);
    EXPECT_FALSE(guest.settled()) << "the front-end must hear of it";
}

TEST_F(FailureTest, ADeviceThatHasGoneIsMissing) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    EXPECT_TRUE(port->check_device());
    devices_->on_removed("vdpa_test0");
    const auto there = port->check_device();
    ASSERT_FALSE(there);
    EXPECT_EQ(there.error().reason, Reason::device_missing);
    EXPECT_THAT(there.error().detail, HasSubstr("vdpa_test0 has gone"));
    port.reset();
    EXPECT_THAT(take_calls(), Contains("remove vdpa_test0"));
}

TEST_F(FailureTest, OtherArgumentsHaveToWaitUntilTheDeviceIsFree) {
    auto port = serve(spec("vdpa_test0"));
    const auto other = create(spec("vdpa_test0,queues=3"), true);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().reason, Reason::device_busy);
    port.reset();
    EXPECT_TRUE(create(spec("vdpa_test0,queues=3")));
}

TEST_F(FailureTest, ADeviceIsNotConfiguredOnRingsOutsideOfTheMemory) {
    auto port = serve(spec("vdpa_test0"));
    const uint64_t end = FrontEnd::user_address + FrontEnd::memory_size;
    // Not at all in it; the last part of it; misaligned.
    for (const uint64_t address : {uint64_t{0}, end, end - 0x800, end - 0x808}) {
        FrontEnd guest(folder_ / "vm1.sock");
        ASSERT_TRUE(guest.negotiate());
        ASSERT_TRUE(guest.share_memory());
        guest.set_up_ring(0);
        guest.set_up_ring(1, address);
        guest.enable_ring(0, true);
        guest.enable_ring(1, true);
        guest.settled();
        EXPECT_THAT(take_calls(), Not(Contains("dev_conf"))) << std::hex << address;
        EXPECT_EQ(live().queues, 0U);
        guest.hang_up();
        ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    }
}

TEST_F(FailureTest, ARingThatGrewAfterItWasMappedIsNotServed) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate());
    ASSERT_TRUE(guest.share_memory());
    guest.set_up_ring(0);
    // The library translates the addresses of a ring when it gets its kick, for the size that the
    // ring has then.
    guest.set_up_ring(1, FrontEnd::user_address + FrontEnd::memory_size - 0x1000);
    guest.send_state(Request::set_vring_num, 1, 32768);
    guest.enable_ring(0, true);
    guest.enable_ring(1, true);
    ASSERT_TRUE(guest.settled());
    EXPECT_TRUE(eventually([](const auto &live) { return reason_of(live) == "device-failed"; }));
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
    EXPECT_THAT(live().datapath.fault->detail, HasSubstr("ring 1"));
}

TEST_F(FailureTest, ARingThatGrowsWhileItRunsIsNotEnabledAgain) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate());
    ASSERT_TRUE(guest.share_memory());
    guest.set_up_ring(0);
    guest.set_up_ring(1, FrontEnd::user_address + FrontEnd::memory_size - 0x1000);
    guest.enable_ring(0, true);
    guest.enable_ring(1, true);
    ASSERT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    guest.enable_ring(1, false);
    ASSERT_TRUE(guest.settled());
    take_calls();
    guest.send_state(Request::set_vring_num, 1, 32768);
    guest.enable_ring(1, true);
    ASSERT_TRUE(guest.settled());
    EXPECT_THAT(take_calls(), Not(Contains("set_vring_state 1 1")));
    EXPECT_EQ(reason_of(live()), "device-failed");
}

TEST_F(FailureTest, ATableOfMemoryThatCannotBeMappedChangesNothing) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    take_calls();
    const UniqueFd no_file(::eventfd(0, EFD_CLOEXEC));
    vhost::MemoryTable table{};
    table.region_count = 1;
    table.regions[0] = {.guest_address = 0x100000,
                        .size = FrontEnd::memory_size,
                        .user_address = FrontEnd::user_address,
                        .mmap_offset = 0};
    guest.send(Request::set_mem_table, &table, 8 + sizeof(table.regions[0]), {no_file.get()}, true);
    EXPECT_NE(guest.acknowledged().value_or(1), 0U);
    EXPECT_TRUE(guest.settled());
    EXPECT_THAT(take_calls(), IsEmpty());
    EXPECT_EQ(live().queues, 1U);
}

/* Holds this process to `more` bytes of addresses more than it has. */
class LimitedAddresses {
  public:
    explicit LimitedAddresses(uint64_t more) {
        ::getrlimit(RLIMIT_AS, &before_);
        uint64_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlimit limit{
            .rlim_cur = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + more,
            .rlim_max = before_.rlim_max};
        EXPECT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
    }
    ~LimitedAddresses() { ::setrlimit(RLIMIT_AS, &before_); }
    LimitedAddresses(const LimitedAddresses &) = delete;
    LimitedAddresses &operator=(const LimitedAddresses &) = delete;

  private:
    rlimit before_{};
};

TEST_F(FailureTest, ATableOfMemoryThatCannotBeMappedAsAWholeChangesNothing) {
    constexpr uint64_t terabyte = uint64_t{1} << 40U;
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    take_calls();
    // Each region can be mapped, both cannot. The library would find that out when it has given up
    // the old memory, and keep the descriptor.
    const UniqueFd file(::memfd_create("guest", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), terabyte), 0);
    vhost::MemoryTable table{};
    table.region_count = 2;
    for (uint64_t i = 0; i < 2; ++i) {
        table.regions[i] = {.guest_address = i * terabyte,
                            .size = terabyte,
                            .user_address = FrontEnd::user_address + i * terabyte,
                            .mmap_offset = 0};
    }
    {
        const LimitedAddresses limited(terabyte + terabyte / 2);
        guest.send(Request::set_mem_table, &table, 8 + 2 * sizeof(table.regions[0]),
                   {file.get(), file.get()}, true);
        EXPECT_NE(guest.acknowledged().value_or(1), 0U);
        EXPECT_TRUE(guest.settled());
    }
    EXPECT_THAT(take_calls(), IsEmpty());
    EXPECT_EQ(live().queues, 1U);
}

TEST_F(FailureTest, MoreRingsThanWereOfferedDoNotReachTheDriver) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    prepare(guest);
    // Refused, but the library has made the ring, and goes on, for an answer was asked for.
    guest.send_state(Request::set_vring_num, 200, 64, true);
    EXPECT_NE(guest.acknowledged().value_or(1), 0U);
    guest.enable_ring(1, true);
    ASSERT_TRUE(guest.settled());
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
    EXPECT_EQ(reason_of(live()), "queues-mismatch");
    guest.hang_up();
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    FrontEnd next(folder_ / "vm1.sock");
    EXPECT_TRUE(next.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
}

TEST_F(FailureTest, ARetryThatWaitsWhenThePortEndsIsNotCarriedOut) {
    auto port = serve(spec("vdpa_test0"));
    fail_call("dev_conf", 1000, -1);
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    for (int i = 0; i < 100; ++i) {
        port->retry();
    }
    port.reset();
    fail_call("dev_conf", 1, 0);
    take_calls();
    // What was posted before this has been run when this has.
    std::promise<void> ran;
    ASSERT_TRUE(events_->post([&] { ran.set_value(); }));
    ASSERT_EQ(ran.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
}

}  // namespace
}  // namespace vdpa::engine::device
