// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstdio>

#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "tests/unit/agent/host/message.hpp"

namespace vdpa::agent::host {
namespace {

Message link_message(int ifindex) {
    ifinfomsg header{};
    header.ifi_index = ifindex;
    header.ifi_flags = 0x1003;
    return {RTM_NEWLINK, header};
}

void add_vf(Message &list, uint32_t vf, uint8_t last_byte) {
    ifla_vf_mac mac{};
    mac.vf = vf;
    mac.mac[0] = 2;
    mac.mac[5] = last_byte;
    list.nested(IFLA_VF_INFO, [&mac](Message &info) {
        info.bytes(IFLA_VF_MAC, {reinterpret_cast<const char *>(&mac), sizeof mac})
            .bytes(IFLA_VF_BROADCAST, std::string(32, '\xff'));
    });
}

std::string hex_byte(uint32_t value) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", value & 0xffU);
    return text;
}

TEST(RtnlMessage, of_a_representor_is_read) {
    const Message message =
        link_message(7)
            .text(IFLA_IFNAME, "eth4")
            .number<uint32_t>(IFLA_MTU, 9000)
            .number<uint32_t>(IFLA_MASTER, 3)
            .text(IFLA_PHYS_PORT_NAME, "pf0vf3")
            .bytes(IFLA_PHYS_SWITCH_ID, "\x0c\x42\xa1\x01")
            .text(IFLA_PARENT_DEV_NAME, "0000:43:00.0")
            .text(IFLA_PARENT_DEV_BUS_NAME, "pci")
            .nested(IFLA_PROP_LIST, [](Message &list) {
                list.text(IFLA_ALT_IFNAME, "enp67s0f0npf0vf3").text(IFLA_ALT_IFNAME, "other");
            });
    Link expected;
    expected.ifindex = 7;
    expected.name = "eth4";
    expected.flags = 0x1003;
    expected.master = 3;
    expected.mtu = 9000;
    expected.altnames = {"enp67s0f0npf0vf3", "other"};
    expected.phys_port_name = "pf0vf3";
    expected.switch_id = "0c42a101";
    expected.parent_bus = "pci";
    expected.parent_device = "0000:43:00.0";
    EXPECT_EQ(parse_link(message.get()), expected);
}

TEST(RtnlMessage, that_is_malformed_is_not_read_past_its_end) {
    EXPECT_FALSE(parse_link(link_message(7).get()));
    const auto link = parse_link(link_message(7)
                                     .bytes(IFLA_IFNAME, "abc")  // no NUL
                                     .bytes(IFLA_MTU, "x")
                                     .bytes(IFLA_MASTER, "")
                                     .bytes(IFLA_LINKINFO, "\xff\xff\xff\xff")
                                     .get());
    ASSERT_TRUE(link);
    EXPECT_EQ(link->name, "abc");
    EXPECT_EQ(link->mtu, 0U);
    EXPECT_EQ(link->master, std::nullopt);
    EXPECT_FALSE(parse_address(link_message(7).get()));
}

TEST(RtnlMessage, tells_mac_addresses_of_vfs) {
    EXPECT_EQ(parse_vf_macs(link_message(7).text(IFLA_IFNAME, "eth4").get()), std::nullopt);
    const Message message = link_message(7).nested(IFLA_VFINFO_LIST, [](Message &list) {
        add_vf(list, 0, 0x10);
        add_vf(list, 5, 0x15);
    });
    const std::map<uint32_t, std::string> expected{{0, "02:00:00:00:00:10"},
                                                   {5, "02:00:00:00:00:15"}};
    EXPECT_EQ(parse_vf_macs(message.get()), expected);
}

TEST(RtnlMessage, of_many_vfs_tells_the_first) {
    // The length of the list has 16 bits, and wraps around.
    const Message message = link_message(7)
                                .number<uint32_t>(IFLA_NUM_VF, 1000)
                                .nested(IFLA_VFINFO_LIST, [](Message &list) {
                                    for (uint32_t vf = 0; vf < 1000; vf++) {
                                        add_vf(list, vf, static_cast<uint8_t>(vf));
                                    }
                                });
    const auto macs = parse_vf_macs(message.get());
    ASSERT_TRUE(macs);
    EXPECT_GT(macs->size(), 0U);
    EXPECT_LT(macs->size(), 1000U);
    EXPECT_EQ(parse_vf_count(message.get()), 1000U) << "so that it can be told";
    for (const auto &[vf, mac] : *macs) {
        EXPECT_EQ(mac.substr(15), hex_byte(vf)) << vf;
        EXPECT_THAT(mac, testing::StartsWith("02:00:00:00:00:"));
    }
}

TEST(RtnlMessage, of_many_vfs_may_go_on_like_another_list) {
    const auto list_of = [](uint8_t last_byte) {
        return [last_byte](Message &list) { add_vf(list, 0, last_byte); };
    };
    const Message message = link_message(7)
                                .number<uint32_t>(IFLA_NUM_VF, 1)
                                .nested(IFLA_VFINFO_LIST, list_of(1))
                                .number<uint32_t>(IFLA_NUM_VF, 77)
                                .nested(IFLA_VFINFO_LIST, list_of(2));
    const std::map<uint32_t, std::string> expected{{0, "02:00:00:00:00:01"}};
    EXPECT_EQ(parse_vf_macs(message.get()), expected);
    EXPECT_EQ(parse_vf_count(message.get()), 1U);
    EXPECT_EQ(parse_vf_count(link_message(7).bytes(IFLA_NUM_VF, "x").get()), 0U);
}

TEST(RtnlMessage, of_an_address_is_read) {
    ifaddrmsg header{};
    header.ifa_family = AF_INET;
    header.ifa_prefixlen = 24;
    header.ifa_index = 7;
    const Message message = Message(RTM_NEWADDR, header)
                                .bytes(IFA_ADDRESS, "\x0a\x01\x01\x02")
                                .bytes(IFA_LOCAL, "\x0a\x01\x01\x01");
    EXPECT_EQ(parse_address(message.get()), (LinkAddress{7, AF_INET, 24, "\x0a\x01\x01\x01"}));
}

TEST(RtnlMessage, knows_addresses_that_every_netdev_has) {
    EXPECT_TRUE((LinkAddress{7, AF_INET6, 64, "\xfe\x80" + std::string(14, '\1')}.is_link_local()));
    EXPECT_FALSE(
        (LinkAddress{7, AF_INET6, 64, "\xfd\x80" + std::string(14, '\1')}.is_link_local()));
    EXPECT_FALSE((LinkAddress{7, AF_INET, 16, "\xfe\x80\1\1"}.is_link_local()));
    EXPECT_FALSE((LinkAddress{7, AF_INET6, 64, ""}.is_link_local()));
}

}  // namespace
}  // namespace vdpa::agent::host
