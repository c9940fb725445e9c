// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_state.hpp"

#include <gtest/gtest.h>
#include <linux/vdpa.h>

#include "tests/unit/agent/host/message.hpp"

namespace vdpa::agent::host {
namespace {

constexpr uint32_t net = 1;  // VIRTIO_ID_NET
constexpr uint32_t block = 2;

Message device(const std::string &name, uint32_t type) {
    return Message::generic(VDPA_CMD_DEV_NEW)
        .text(VDPA_ATTR_MGMTDEV_BUS_NAME, "pci")
        .text(VDPA_ATTR_MGMTDEV_DEV_NAME, "0000:43:00.2")
        .text(VDPA_ATTR_DEV_NAME, name)
        .number<uint32_t>(VDPA_ATTR_DEV_ID, type)
        .number<uint32_t>(VDPA_ATTR_DEV_MAX_VQS, 33);
}

TEST(VdpaMessage, of_a_management_device_is_read) {
    const Message message = Message::generic(VDPA_CMD_MGMTDEV_NEW)
                                .text(VDPA_ATTR_MGMTDEV_BUS_NAME, "pci")
                                .text(VDPA_ATTR_MGMTDEV_DEV_NAME, "0000:43:00.2")
                                .number<uint64_t>(VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES, 1U << net)
                                .number<uint32_t>(VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, 65);
    EXPECT_EQ(parse_vdpa_management(message.get()), (VdpaManagement{"pci/0000:43:00.2", true, 65}));
}

TEST(VdpaMessage, of_a_management_device_on_no_bus_is_read) {
    const Message message = Message::generic(VDPA_CMD_MGMTDEV_NEW)
                                .text(VDPA_ATTR_MGMTDEV_DEV_NAME, "vdpasim_blk")
                                .number<uint64_t>(VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES, 1U << block);
    EXPECT_EQ(parse_vdpa_management(message.get()), (VdpaManagement{"vdpasim_blk", false, 0}));
}

TEST(VdpaMessage, of_a_device_is_read) {
    VdpaDevice expected;
    expected.name = "v0";
    expected.management = "pci/0000:43:00.2";
    expected.max_virtqueues = 33;
    EXPECT_EQ(parse_vdpa_device(device("v0", net).get()), expected);
}

TEST(VdpaMessage, of_a_device_that_is_no_network_device_is_not_taken) {
    EXPECT_EQ(parse_vdpa_device(device("b0", block).get()), std::nullopt);
}

TEST(VdpaMessage, that_is_malformed_is_not_taken) {
    EXPECT_EQ(parse_vdpa_management(Message::generic(VDPA_CMD_MGMTDEV_NEW).get()), std::nullopt);
    EXPECT_EQ(parse_vdpa_device(device("", net).get()), std::nullopt);
    EXPECT_EQ(parse_vdpa_device(Message::generic(VDPA_CMD_DEV_NEW)
                                    .text(VDPA_ATTR_DEV_NAME, "v0")
                                    .number<uint8_t>(VDPA_ATTR_DEV_ID, 1)
                                    .get()),
              std::nullopt);
}

TEST(VdpaMessage, of_a_configuration_is_read) {
    VdpaDevice told;
    parse_vdpa_config(Message::generic(VDPA_CMD_DEV_CONFIG_GET)
                          .bytes(VDPA_ATTR_DEV_NET_CFG_MACADDR, "\x02\x01\x01\x01\x01\x0a")
                          .number<uint16_t>(VDPA_ATTR_DEV_NET_CFG_MTU, 9000)
                          .number<uint16_t>(VDPA_ATTR_DEV_NET_CFG_MAX_VQP, 16)
                          .get(),
                      told);
    EXPECT_EQ(told.mac, "02:01:01:01:01:0a");
    EXPECT_EQ(told.mtu, 9000);
    EXPECT_EQ(told.max_pairs, 16);
    parse_vdpa_config(Message::generic(VDPA_CMD_DEV_CONFIG_GET)
                          .bytes(VDPA_ATTR_DEV_NET_CFG_MACADDR, "\x02\x01")
                          .number<uint8_t>(VDPA_ATTR_DEV_NET_CFG_MTU, 1)
                          .get(),
                      told);
    EXPECT_EQ(told.mac, "");
    EXPECT_EQ(told.mtu, std::nullopt);
    EXPECT_EQ(told.max_pairs, std::nullopt);
}

}  // namespace
}  // namespace vdpa::agent::host
