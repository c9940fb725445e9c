// SPDX-License-Identifier: Apache-2.0
#include "engine/port_status.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::engine {
namespace {

using schema::PortState;
using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;

class PortStatusTest : public testing::Test {
  protected:
    PortStatusTest() {
        spec_.name = "vm1";
        spec_.socket.path = "/run/vm1";
        spec_.max_queues = 4;
        spec_.packed = true;
        spec_.offloads = true;
        live_.offer = {.max_queues = 4, .packed = true, .offloads = true};
    }
    schema::PortStatus derive(std::optional<Error> error = {}) const {
        return derive_status(
            spec_, Outcome{.generation = 3, .served = spec_, .error = std::move(error)}, live_);
    }

    schema::PortSpec spec_;
    vhost::Live live_;
};

TEST_F(PortStatusTest, BeforeAnyOutcomeIsPending) {
    const auto status = derive_status(spec_, std::nullopt, live_);
    EXPECT_EQ(status.state, PortState::pending);
    EXPECT_EQ(status.spec, spec_);
    EXPECT_EQ(status.served, std::nullopt);
}

TEST_F(PortStatusTest, WithoutAFrontEndFollowsTheSocketsMode) {
    EXPECT_EQ(derive().state, PortState::listening);
    spec_.socket.mode = schema::SocketMode::client;
    EXPECT_EQ(derive().state, PortState::connecting);
}

TEST_F(PortStatusTest, RunsOnceAPairOfTheFrontEndIsServed) {
    live_.connected = true;
    EXPECT_EQ(derive().state, PortState::connected);
    live_.queues = 2;
    EXPECT_EQ(derive().state, PortState::running);
    EXPECT_EQ(derive().queues, 2U);
}

TEST_F(PortStatusTest, ServedAsAskedHasNoReason) {
    const auto status = derive();
    EXPECT_EQ(status.served, spec_);
    EXPECT_EQ(status.reason, std::nullopt);
    EXPECT_EQ(status.detail, std::nullopt);
    EXPECT_EQ(status.generation, 3U);
}

TEST_F(PortStatusTest, NotServedIsFailedWithTheReason) {
    const auto status = derive_status(
        spec_,
        Outcome{.generation = 3,
                .served = {},
                .error = Error{Reason::socket_in_use, "another process listens on /run/vm1"}},
        live_);
    EXPECT_EQ(status.state, PortState::failed);
    EXPECT_EQ(status.reason, "socket-in-use");
    EXPECT_EQ(status.detail, "another process listens on /run/vm1");
    EXPECT_EQ(status.served, std::nullopt);
}

TEST_F(PortStatusTest, AnErrorBesideAServedSpecKeepsTheState) {
    live_.connected = true;
    live_.queues = 1;
    const auto status = derive(Error{Reason::socket_dir_missing, "no folder"});
    EXPECT_EQ(status.state, PortState::running);
    EXPECT_EQ(status.reason, "socket-dir-missing");
}

TEST_F(PortStatusTest, AnOfferThatWaitsForTheNextConnectionIsNamed) {
    live_.connected = true;
    live_.offer = {.max_queues = 2, .packed = true, .offloads = false};
    const auto status = derive();
    EXPECT_EQ(status.reason, "reconnect-pending");
    EXPECT_THAT(status.detail.value_or(""),
                HasSubstr("queue pairs 4 (now 2), offloads on (now off)"));
    ASSERT_TRUE(status.served.has_value());
    EXPECT_EQ(status.served->max_queues, 2U);
    EXPECT_FALSE(status.served->offloads);
    EXPECT_EQ(status.spec, spec_);
}

TEST_F(PortStatusTest, AFaultAtTheSocketIsShown) {
    live_.connected = true;
    live_.fault = Error{Reason::queues_mismatch, "too many"};
    EXPECT_EQ(derive().reason, "queues-mismatch");
}

TEST_F(PortStatusTest, WhatTheDatapathSaysOfItsDeviceIsShown) {
    live_.datapath.offered = uint64_t{1} << 32 | 1 << 15;
    live_.datapath.withheld = uint64_t{1} << 34;
    live_.datapath.device_queues = 8;
    live_.datapath.doorbell = "mapped";
    live_.datapath.mac = "02:00:00:00:00:01";
    live_.datapath.mtu = 9000;
    live_.datapath.stall_ms = 12;
    const auto status = derive();
    EXPECT_THAT(status.offered, ElementsAre("mrg_rxbuf", "version_1"));
    EXPECT_THAT(status.withheld, ElementsAre("ring_packed"));
    EXPECT_EQ(status.device_queues, 8U);
    EXPECT_EQ(status.doorbell, "mapped");
    EXPECT_EQ(status.device_mac, "02:00:00:00:00:01");
    EXPECT_EQ(status.device_mtu, 9000U);
    EXPECT_EQ(status.stall_ms, 12U);
}

TEST_F(PortStatusTest, WhatIsNotKnownOfADeviceIsNotThere) {
    const auto status = derive();
    EXPECT_EQ(status.device_queues, 0U);
    EXPECT_EQ(status.doorbell, std::nullopt);
    EXPECT_EQ(status.device_mac, std::nullopt);
}

TEST_F(PortStatusTest, AFaultOfTheDeviceComesBeforeWhatWaitsAndANoticeAfterEverything) {
    live_.connected = true;
    live_.datapath.notice = Error{Reason::fewer_queues, "the device has 2"};
    EXPECT_EQ(derive().reason, "fewer-queues");
    live_.offer.packed = false;
    EXPECT_EQ(derive().reason, "reconnect-pending");
    live_.datapath.fault = Error{Reason::device_failed, "it could not be configured"};
    EXPECT_EQ(derive().reason, "device-failed");
    live_.fault = Error{Reason::queues_mismatch, "too many"};
    EXPECT_EQ(derive().reason, "queues-mismatch");
    EXPECT_EQ(derive(Error{Reason::socket_failed, "gone"}).reason, "socket-failed");
}

TEST_F(PortStatusTest, AsManyAsAnEngineServesFitIntoOneMessageWhateverIsToBeSaidOfThem) {
    constexpr size_t most = 500;  // PortTable::max_ports
    spec_.name = std::string(15, 'n');
    spec_.socket.path = std::string(107, 'p');
    spec_.device.name = std::string(200, 'd');
    live_.connected = true;
    live_.features = live_.datapath.offered = live_.datapath.withheld = ~uint64_t{0};
    live_.fault = Error{Reason::device_failed, std::string(2000, 'x')};
    const schema::PortList list{.ports = std::vector<schema::PortStatus>(most, derive())};
    EXPECT_LT(encode(list).dump().size() + 100, schema::max_message_bytes);
}

}  // namespace
}  // namespace vdpa::engine
