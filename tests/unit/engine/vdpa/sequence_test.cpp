// SPDX-License-Identifier: Apache-2.0
// What is asked of DPDK and of a device's driver, and in which order.
#include <gmock/gmock.h>
#include <rte_vdpa.h>

#include <optional>

#include "tests/device/test_device.hpp"
#include "tests/unit/engine/vdpa/port_fixture.hpp"

namespace vdpa::engine::device {
namespace {

using test::FrontEnd;
using test::take_calls;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uint64_t log_all = uint64_t{1} << 26;
constexpr uint64_t packed = uint64_t{1} << 34;
constexpr uint64_t protocol_log = 1 << 1;

class SequenceTest : public PortFixture {};

TEST_F(SequenceTest, ADeviceIsPluggedBeforeItsSocketAndUnpluggedAfterIt) {
    auto port = serve(spec("vdpa_test0"));
    ASSERT_TRUE(port);
    EXPECT_THAT(take_calls(),
                ElementsAre("rte_dev_probe", "probe vdpa_test0", "rte_vdpa_find_device_by_name",
                            "rte_vhost_driver_register", "rte_vhost_driver_callback_register",
                            "rte_vhost_driver_attach_vdpa_device", "rte_vhost_driver_start"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    // The library tells the features first, then the rings that are complete, then that it is time.
    EXPECT_THAT(take_calls(), ElementsAre("set_features", "set_vring_state 0 1",
                                          "set_vring_state 1 1", "dev_conf"));
    port->stop();
    EXPECT_THAT(take_calls(),
                ElementsAre("rte_vhost_driver_detach_vdpa_device", "rte_vhost_driver_unregister",
                            "dev_close", "dev_cleanup", "rte_dev_remove", "remove vdpa_test0"));
    EXPECT_EQ(rte_vdpa_find_device_by_name("vdpa_test0"), nullptr);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "vm1.sock"));
}

TEST_F(SequenceTest, ThePortRunsWhenTheDeviceIsConfiguredAndNoSooner) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate());
    EXPECT_TRUE(eventually([](const auto &live) { return live.connected; }));
    ASSERT_TRUE(guest.share_memory());
    guest.set_up_ring(0);
    guest.set_up_ring(1);
    guest.enable_ring(0, true);
    ASSERT_TRUE(guest.settled());
    EXPECT_EQ(live().queues, 0U);
    EXPECT_THAT(take_calls(), Not(Contains("dev_conf")));
    guest.enable_ring(1, true);
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    EXPECT_EQ(live().datapath.doorbell, "eventfd");
    guest.stop(1);
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 0; }));
    EXPECT_TRUE(live().connected);
    EXPECT_THAT(take_calls(), Contains("dev_close"));
}

TEST_F(SequenceTest, ADeviceIsStoppedWhenItsFrontEndGoesAndStartsForTheNext) {
    auto port = serve(spec("vdpa_test0"));
    for (int i = 0; i < 3; ++i) {
        FrontEnd guest(folder_ / "vm1.sock");
        take_calls();
        ASSERT_TRUE(guest.start(1));
        EXPECT_THAT(take_calls(), Contains("dev_conf"));
        guest.hang_up();
        ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
        EXPECT_THAT(take_calls(), Contains("dev_close"));
        EXPECT_EQ(live().queues, 0U);
    }
    EXPECT_EQ(port->connections(), 3U);
}

TEST_F(SequenceTest, AFrontEndThatDiesInTheHandshakeLeavesTheDeviceAlone) {
    auto port = serve(spec("vdpa_test0"));
    for (int messages = 0; messages < 8; ++messages) {
        FrontEnd guest(folder_ / "vm1.sock");
        take_calls();
        int sent = 0;
        const auto step = [&](auto &&what) {
            if (sent++ < messages) {
                what();
            }
        };
        step([&] { EXPECT_TRUE(guest.negotiate()); });
        step([&] { EXPECT_TRUE(guest.share_memory()); });
        for (uint32_t ring = 0; ring < 2; ++ring) {
            step([&] { guest.set_up_ring(ring); });
            step([&] { guest.enable_ring(ring, ring == 0); });
        }
        guest.hang_up();
        ASSERT_TRUE(eventually([&](const auto &live) {
            return !live.connected && live.connections == static_cast<uint64_t>(messages) + 1;
        })) << messages;
        EXPECT_THAT(take_calls(), Not(Contains("dev_conf"))) << messages;
    }
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_TRUE(guest.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
}

TEST_F(SequenceTest, ASecondFrontEndIsRefusedAndTheFirstGoesOn) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    take_calls();
    FrontEnd second(folder_ / "vm1.sock");
    EXPECT_FALSE(second.settled());
    EXPECT_TRUE(guest.settled());
    EXPECT_EQ(live().queues, 1U);
    // A driver takes either for the end of the first.
    EXPECT_THAT(take_calls(), AllOf(Not(Contains("dev_close")), Not(Contains("dev_cleanup"))));
    guest.hang_up();
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    FrontEnd next(folder_ / "vm1.sock");
    ASSERT_TRUE(next.settled());  // the library has done with the others
    EXPECT_THAT(take_calls(), ElementsAre("dev_close", "dev_cleanup"));
}

TEST_F(SequenceTest, TheDriverCleansUpAfterAFrontEndThatResetItsOwner) {
    auto port = serve(spec("vdpa_test0"));
    std::optional<FrontEnd> guest(std::in_place, folder_ / "vm1.sock");
    ASSERT_TRUE(guest->start(1));
    guest->send(FrontEnd::Request::reset_owner, nullptr, 0);
    ASSERT_TRUE(guest->settled());
    EXPECT_THAT(take_calls(), Contains("dev_cleanup"));
    ASSERT_TRUE(guest->start(1));
    take_calls();
    guest->hang_up();
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    FrontEnd next(folder_ / "vm1.sock");
    ASSERT_TRUE(next.settled());
    EXPECT_THAT(take_calls(), ElementsAre("dev_close", "dev_cleanup"));
}

TEST_F(SequenceTest, SixteenPairsAreServedAndTheRingsThatAreDisabledAreNot) {
    auto port = serve(spec("vdpa_test0,queues=16", 16));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.negotiate(uint64_t{1} << 32 | 1 << 30 | 1 << 22));
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_queue_num), 16U);
    ASSERT_TRUE(guest.share_memory());
    for (uint32_t ring = 0; ring < 32; ++ring) {
        guest.set_up_ring(ring);
    }
    guest.enable_ring(0, true);
    guest.enable_ring(1, true);
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    for (uint32_t ring = 2; ring < 32; ++ring) {
        guest.enable_ring(ring, true);
    }
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 16; }));
    take_calls();
    guest.enable_ring(31, false);
    guest.enable_ring(30, false);
    ASSERT_TRUE(guest.settled());
    EXPECT_EQ(live().queues, 15U);
    EXPECT_THAT(take_calls(), ElementsAre("set_vring_state 31 0", "set_vring_state 30 0"));
    EXPECT_EQ(port->stats().size(), 32U);
}

TEST_F(SequenceTest, NoMorePairsAreOfferedThanAreAskedForOrThanThereAre) {
    {
        auto port = serve(spec("vdpa_test0,queues=16", 4));
        FrontEnd guest(folder_ / "vm1.sock");
        EXPECT_EQ(guest.ask(FrontEnd::Request::get_queue_num), 4U);
        EXPECT_EQ(live().datapath.device_queues, 16U);
        EXPECT_EQ(live().datapath.notice, std::nullopt);
        guest.send_state(FrontEnd::Request::set_vring_num, 8, 64);
        EXPECT_FALSE(guest.settled());
        EXPECT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    }
    auto port = serve(spec("vdpa_test1,queues=2", 4));
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_queue_num), 2U);
    ASSERT_TRUE(live().datapath.notice);
    EXPECT_EQ(live().datapath.notice->reason, schema::Reason::fewer_queues);
    EXPECT_EQ(live().datapath.notice->detail,
              "vdpa_test1 has 2 queue pairs, and vdpa-max-queues asks for 4");
}

TEST_F(SequenceTest, AChangeOfTheMemoryStopsTheDeviceAndStartsItAnew) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    take_calls();
    vhost::MemoryTable table{};
    table.region_count = 2;
    table.regions[0] = {.guest_address = 0,
                        .size = FrontEnd::memory_size / 2,
                        .user_address = FrontEnd::user_address,
                        .mmap_offset = 0};
    table.regions[1] = {.guest_address = FrontEnd::memory_size,
                        .size = FrontEnd::memory_size / 2,
                        .user_address = FrontEnd::user_address + FrontEnd::memory_size,
                        .mmap_offset = FrontEnd::memory_size / 2};
    guest.send(FrontEnd::Request::set_mem_table, &table, 8 + 2 * sizeof(table.regions[0]),
               {guest.memory(), guest.memory()});
    ASSERT_TRUE(guest.settled());
    EXPECT_THAT(take_calls(), ElementsAre("dev_close", "dev_conf"));
    EXPECT_EQ(live().queues, 1U);
}

TEST_F(SequenceTest, FeaturesAreTheSameAtEveryConnection) {
    auto port = serve(spec("vdpa_test0"));
    uint64_t features = 0;
    {
        FrontEnd guest(folder_ / "vm1.sock");
        features = guest.ask(FrontEnd::Request::get_features).value_or(0);
        ASSERT_TRUE(guest.start(1, features & ~packed));
    }
    ASSERT_TRUE(eventually([](const auto &live) { return !live.connected; }));
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_features), features);
    EXPECT_EQ(live().datapath.offered, features);
    EXPECT_NE(features & packed, 0U);
    // MAC, status and order_platform: the library cannot offer them; one pair needs no multi-queue.
    EXPECT_EQ(live().datapath.withheld, uint64_t{1} << 5 | 1 << 16 | uint64_t{1} << 36 | 1 << 22);
}

TEST_F(SequenceTest, PackedRingsAndOffloadsAreWithheldOnRequest) {
    schema::PortSpec wanted = spec("vdpa_test0");
    wanted.packed = false;
    wanted.offloads = false;
    auto port = serve(wanted);
    constexpr uint64_t offloads = 1 << 0 | 1 << 1 | 1 << 11 | 1 << 12;
    FrontEnd guest(folder_ / "vm1.sock");
    const uint64_t offered = guest.ask(FrontEnd::Request::get_features).value_or(0);
    EXPECT_EQ(offered & (packed | offloads), 0U);
    EXPECT_EQ(live().datapath.withheld & (packed | offloads), packed | offloads);
    guest.send_u64(FrontEnd::Request::set_features, offered | packed);
    EXPECT_FALSE(guest.settled());
}

TEST_F(SequenceTest, AControlQueueIsOfferedForWhatNeedsIt) {
    constexpr uint64_t queue_and_multi_queue = 1 << 17 | 1 << 22;
    for (const uint32_t pairs : {1U, 2U}) {
        auto port = serve(spec("vdpa_test0,features=140428000", pairs));
        FrontEnd guest(folder_ / "vm1.sock");
        EXPECT_EQ(guest.ask(FrontEnd::Request::get_features).value_or(0) & queue_and_multi_queue,
                  pairs == 1 ? 0 : queue_and_multi_queue);
    }
}

TEST_F(SequenceTest, OnlyADeviceThatLogsDirtyPagesOffersIt) {
    {
        auto port = serve(spec("vdpa_test0"));
        FrontEnd guest(folder_ / "vm1.sock");
        EXPECT_NE(guest.ask(FrontEnd::Request::get_features).value_or(0) & log_all, 0U);
        EXPECT_NE(guest.ask(FrontEnd::Request::get_protocol_features).value_or(0) & protocol_log,
                  0U);
    }
    auto port = serve(spec("vdpa_test1,features=140000000"));
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_features), 0x140000000U);
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_protocol_features).value_or(0) & protocol_log, 0U);
}

TEST_F(SequenceTest, TheConfigurationSpaceIsTheDevices) {
    auto port = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    EXPECT_THAT(guest.read_config(0, 12).value_or(std::vector<uint8_t>{}),
                ElementsAre(2, 0, 0, 0, 0, 7, 1, 0, 2, 0, 0xdc, 5));
    EXPECT_THAT(guest.read_config(10, 4).value_or(std::vector<uint8_t>{}),
                ElementsAre(0xdc, 5, 0, 0));
    EXPECT_THAT(guest.read_config(256, 1).value_or(std::vector<uint8_t>{1}), IsEmpty());
    EXPECT_THAT(guest.read_config(0xffffffff, 4).value_or(std::vector<uint8_t>{1}), IsEmpty());
    EXPECT_TRUE(guest.settled());
}

TEST_F(SequenceTest, ADeviceGoesWithItsPortToAnotherSocket) {
    auto first = serve(spec("vdpa_test0"));
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    take_calls();
    schema::PortSpec moved = spec("vdpa_test0");
    moved.socket.path = folder_ / "other.sock";
    auto second = create(moved, true);
    ASSERT_TRUE(second);
    ASSERT_TRUE((*second)->start(first.get()));
    first.reset();
    const auto calls = take_calls();
    EXPECT_THAT(calls, Contains("dev_close"));
    EXPECT_THAT(calls, Not(Contains("rte_dev_remove"))) << "it stays plugged";
    FrontEnd next(folder_ / "other.sock");
    ASSERT_TRUE(next.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    second->reset();
    EXPECT_THAT(take_calls(), Contains("rte_dev_remove"));
}

TEST_F(SequenceTest, TheOfferIsWhatItWasUntilTheFrontEndGoes) {
    auto port = serve(spec("vdpa_test0,queues=8", 2));
    {
        FrontEnd guest(folder_ / "vm1.sock");
        ASSERT_TRUE(guest.start(1));
        ASSERT_TRUE(port->set_offer({.max_queues = 4, .packed = false, .offloads = true}));
        EXPECT_EQ(guest.ask(FrontEnd::Request::get_queue_num), 2U);
        EXPECT_EQ(live().offer.max_queues, 2U);
    }
    ASSERT_TRUE(eventually([](const auto &live) { return live.offer.max_queues == 4; }));
    FrontEnd guest(folder_ / "vm1.sock");
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_queue_num), 4U);
    EXPECT_EQ(guest.ask(FrontEnd::Request::get_features).value_or(packed) & packed, 0U);
    EXPECT_TRUE(guest.start(4, uint64_t{1} << 32 | 1 << 30 | 1 << 22));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 4; }));
}

TEST_F(SequenceTest, AVirtualFunctionIsFoundByItsPciAddress) {
    sysfs_.add_pci("0000:43:00.2", "0x15b3", "0x101e");
    sysfs_.bind("pci", "0000:43:00.2", "mlx5_core");
    auto port = serve(spec("43:00.2"));
    ASSERT_TRUE(port);
    FrontEnd guest(folder_ / "vm1.sock");
    ASSERT_TRUE(guest.start(1));
    EXPECT_TRUE(eventually([](const auto &live) { return live.queues == 1; }));
    EXPECT_TRUE(port->check_device());
    sysfs_.make_rdma_device("0000:43:00.2", "mlx5_2");
    auto there = port->check_device();
    ASSERT_FALSE(there);
    EXPECT_EQ(there.error().reason, schema::Reason::device_failed);
    EXPECT_THAT(there.error().detail, HasSubstr("0000:43:00.2 was reset"));
    sysfs_.remove("pci", "0000:43:00.2");
    there = port->check_device();
    ASSERT_FALSE(there);
    EXPECT_EQ(there.error().reason, schema::Reason::device_missing);
}

}  // namespace
}  // namespace vdpa::engine::device
