// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/device_address.hpp"

#include <gtest/gtest.h>

namespace vdpa::engine::device {
namespace {

using Bus = DeviceAddress::Bus;

TEST(DeviceAddress, APciAddressIsCompletedAsDpdkHasIt) {
    const DeviceAddress expected{Bus::pci, "0000:43:00.2", "0000:43:00.2", ""};
    EXPECT_EQ(parse_device_address("0000:43:00.2"), expected);
    EXPECT_EQ(parse_device_address("43:00.2"), expected);
    EXPECT_EQ(parse_device_address("AB:1F.7")->name, "0000:ab:1f.7");
    EXPECT_EQ(parse_device_address("00010000:43:00.2")->name, "00010000:43:00.2");
}

TEST(DeviceAddress, ArgumentsAreTheOperatorsOwn) {
    const auto address = parse_device_address("43:00.2,queue_size=512,queues=4");
    EXPECT_EQ(address->name, "0000:43:00.2");
    EXPECT_EQ(address->arguments, "queue_size=512,queues=4");
    EXPECT_TRUE(address->has_argument("queues"));
    EXPECT_TRUE(address->has_argument("queue_size"));
    EXPECT_FALSE(address->has_argument("queue"));
    EXPECT_FALSE(address->has_argument("size"));
}

TEST(DeviceAddress, AScalableFunctionIsOnTheAuxiliaryBus) {
    const DeviceAddress expected{Bus::auxiliary, "mlx5_core.sf.4", "auxiliary:mlx5_core.sf.4", ""};
    EXPECT_EQ(parse_device_address("auxiliary:mlx5_core.sf.4"), expected);
}

TEST(DeviceAddress, AnotherBusIsLeftToDpdk) {
    EXPECT_EQ(parse_device_address("vdpa_test0,queues=2"),
              (DeviceAddress{Bus::other, "vdpa_test0", "vdpa_test0", "queues=2"}));
    EXPECT_EQ(parse_device_address("vdev:vdpa_test0")->name, "vdpa_test0");
    EXPECT_EQ(parse_device_address("vdev:vdpa_test0")->identifier, "vdev:vdpa_test0");
}

TEST(DeviceAddress, WhatNamesNothingIsBadDevice) {
    for (const char *text : {"", ",a=b", " 43:00.2", "43:00.2 ", "../../etc", "a/b", "..",
                             "auxiliary:", "auxiliary:..", "auxiliary:a:b", "vdev:", "a b"}) {
        const auto address = parse_device_address(text);
        ASSERT_FALSE(address) << text;
        EXPECT_EQ(address.error().reason, schema::Reason::bad_device) << text;
        EXPECT_NE(address.error().detail.find('"' + std::string(text) + '"'), std::string::npos);
    }
}

}  // namespace
}  // namespace vdpa::engine::device
