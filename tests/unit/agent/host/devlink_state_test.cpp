// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/devlink_state.hpp"

#include <gtest/gtest.h>
#include <linux/devlink.h>

#include "tests/unit/agent/host/message.hpp"

namespace vdpa::agent::host {
namespace {

const Handle pf{"pci", "0000:43:00.0"};

Message about(uint8_t command, const Handle &device = pf) {
    return Message::generic(command)
        .text(DEVLINK_ATTR_BUS_NAME, device.bus)
        .text(DEVLINK_ATTR_DEV_NAME, device.device);
}

Message port(uint8_t command, uint32_t index, const Handle &device = pf) {
    return about(command, device).number<uint32_t>(DEVLINK_ATTR_PORT_INDEX, index);
}

class DevlinkStateTest : public testing::Test {
  protected:
    bool take(const Message &message) {
        const auto parsed = parse_devlink(message.get());
        EXPECT_TRUE(parsed);
        return parsed && apply(*parsed, state);
    }
    const DevlinkPortState &only_port() { return state.ports.at({pf, 1}); }

    DevlinkState state;
};

TEST_F(DevlinkStateTest, has_all_that_a_port_says) {
    EXPECT_TRUE(take(
        port(DEVLINK_CMD_PORT_NEW, 1)
            .number<uint16_t>(DEVLINK_ATTR_PORT_FLAVOUR, DEVLINK_PORT_FLAVOUR_PCI_SF)
            .number<uint32_t>(DEVLINK_ATTR_PORT_CONTROLLER_NUMBER, 0)
            .number<uint16_t>(DEVLINK_ATTR_PORT_PCI_PF_NUMBER, 1)
            .number<uint32_t>(DEVLINK_ATTR_PORT_PCI_SF_NUMBER, 88)
            .number<uint32_t>(DEVLINK_ATTR_PORT_NETDEV_IFINDEX, 10)
            .nested(DEVLINK_ATTR_PORT_FUNCTION, [](Message &function) {
                function.bytes(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, "\x02\x01\x01\x01\x01\x0a")
                    .number<uint8_t>(DEVLINK_PORT_FN_ATTR_STATE, DEVLINK_PORT_FN_STATE_INACTIVE)
                    .number<uint8_t>(DEVLINK_PORT_FN_ATTR_OPSTATE, 0)
                    .number<uint32_t>(90, 1);  // of a later kernel
            })));
    EXPECT_EQ(only_port(), (DevlinkPortState{pf, 1, DEVLINK_PORT_FLAVOUR_PCI_SF, 0, false, 1, 88,
                                             10, "02:01:01:01:01:0a", false}));
}

TEST_F(DevlinkStateTest, knows_functions_of_external_controllers) {
    const auto vf = [](uint32_t index, uint32_t controller) {
        return port(DEVLINK_CMD_PORT_NEW, index)
            .number<uint16_t>(DEVLINK_ATTR_PORT_FLAVOUR, DEVLINK_PORT_FLAVOUR_PCI_VF)
            .number<uint32_t>(DEVLINK_ATTR_PORT_CONTROLLER_NUMBER, controller);
    };
    take(vf(1, 0).number<uint8_t>(DEVLINK_ATTR_PORT_EXTERNAL, 0));
    take(vf(2, 1).number<uint8_t>(DEVLINK_ATTR_PORT_EXTERNAL, 1));
    take(vf(3, 1));
    EXPECT_FALSE(state.ports.at({pf, 1}).external);
    EXPECT_TRUE(state.ports.at({pf, 2}).external);
    EXPECT_TRUE(state.ports.at({pf, 3}).external);
}

TEST_F(DevlinkStateTest, has_ports_that_an_older_kernel_lists) {
    take(port(DEVLINK_CMD_NEW, 1).number(DEVLINK_ATTR_PORT_NETDEV_IFINDEX, 10U));
    EXPECT_EQ(only_port().ifindex, 10);
}

TEST_F(DevlinkStateTest, loses_a_port_in_two_steps) {
    const auto with_netdev = [] {
        return port(DEVLINK_CMD_PORT_NEW, 1).number(DEVLINK_ATTR_PORT_NETDEV_IFINDEX, 10U);
    };
    EXPECT_TRUE(take(with_netdev()));
    EXPECT_EQ(only_port().ifindex, 10);
    EXPECT_FALSE(take(port(DEVLINK_CMD_PORT_NEW, 1)));
    EXPECT_EQ(only_port().ifindex, 0);
    EXPECT_TRUE(take(port(DEVLINK_CMD_PORT_DEL, 1)));
    EXPECT_TRUE(state.ports.empty());
    EXPECT_FALSE(take(port(DEVLINK_CMD_PORT_DEL, 1)));
}

TEST_F(DevlinkStateTest, loses_the_ports_of_a_device_with_it) {
    const Handle other{"netdevsim", "netdevsim10"};
    EXPECT_TRUE(take(about(DEVLINK_CMD_NEW)));
    EXPECT_FALSE(take(about(DEVLINK_CMD_NEW)));
    take(port(DEVLINK_CMD_PORT_NEW, 1));
    take(port(DEVLINK_CMD_PORT_NEW, 2));
    take(port(DEVLINK_CMD_PORT_NEW, 1, other));
    EXPECT_TRUE(take(about(DEVLINK_CMD_DEL)));
    EXPECT_EQ(state.ports.size(), 1U);
    EXPECT_EQ(state.devices.size(), 1U);
    EXPECT_TRUE(state.devices.contains(other));
}

TEST_F(DevlinkStateTest, has_the_mode_of_an_eswitch) {
    const auto mode = [this](std::optional<uint16_t> value) {
        Message answer = about(DEVLINK_CMD_ESWITCH_GET);
        if (value) {
            answer = std::move(answer).number(DEVLINK_ATTR_ESWITCH_MODE, *value);
        }
        return parse_devlink(answer.get())->eswitch;
    };
    EXPECT_EQ(mode(DEVLINK_ESWITCH_MODE_LEGACY), Pf::Eswitch::legacy);
    EXPECT_EQ(mode(DEVLINK_ESWITCH_MODE_SWITCHDEV), Pf::Eswitch::switchdev);
    EXPECT_EQ(mode(17), Pf::Eswitch::unsupported);
    EXPECT_EQ(mode(std::nullopt), Pf::Eswitch::unsupported);
}

TEST_F(DevlinkStateTest, keeps_the_mode_of_an_eswitch_that_cannot_be_read_any_more) {
    take(about(DEVLINK_CMD_NEW));
    EXPECT_EQ(state.devices.at(pf), std::nullopt);
    EXPECT_TRUE(set_eswitch_error(pf, "no memory", state));
    EXPECT_FALSE(set_eswitch_error(pf, "no memory", state));
    EXPECT_EQ(state.devices.at(pf), std::nullopt);
    EXPECT_TRUE(set_eswitch(pf, Pf::Eswitch::legacy, state));
    EXPECT_FALSE(set_eswitch(pf, Pf::Eswitch::legacy, state));
    EXPECT_TRUE(state.eswitch_errors.empty());
    EXPECT_TRUE(set_eswitch_error(pf, "busy", state));
    EXPECT_EQ(state.devices.at(pf), Pf::Eswitch::legacy);
    EXPECT_TRUE(set_eswitch(pf, Pf::Eswitch::legacy, state)) << "it can be read again";
    EXPECT_TRUE(set_eswitch_error(pf, "busy", state));
    take(about(DEVLINK_CMD_DEL));
    EXPECT_TRUE(state.eswitch_errors.empty());
}

TEST_F(DevlinkStateTest, takes_no_answer_for_a_device_that_has_gone) {
    EXPECT_FALSE(set_eswitch(pf, Pf::Eswitch::legacy, state));
    EXPECT_FALSE(set_eswitch_error(pf, "no memory", state));
    EXPECT_EQ(state, DevlinkState());
}

TEST(DevlinkMessage, of_no_interest_or_malformed_is_not_taken) {
    EXPECT_FALSE(parse_devlink(about(DEVLINK_CMD_RATE_NEW).get()));
    EXPECT_FALSE(parse_devlink(about(DEVLINK_CMD_PORT_NEW).get()));  // of which port?
    EXPECT_FALSE(parse_devlink(Message::generic(DEVLINK_CMD_NEW).get()));
    EXPECT_FALSE(parse_devlink(
        about(DEVLINK_CMD_PORT_NEW).number<uint16_t>(DEVLINK_ATTR_PORT_INDEX, 1).get()));
    const auto odd = parse_devlink(port(DEVLINK_CMD_PORT_NEW, 1)
                                       .number<uint8_t>(DEVLINK_ATTR_PORT_FLAVOUR, 4)
                                       .bytes(DEVLINK_ATTR_PORT_FUNCTION, "\xff\xff\xff\xff")
                                       .number<uint16_t>(DEVLINK_ATTR_PORT_NETDEV_IFINDEX, 1)
                                       .get());
    ASSERT_TRUE(odd);
    EXPECT_EQ(odd->port, (DevlinkPortState{pf, 1, {}, 0, false, 0, 0, 0, {}, {}}));
}

TEST(DevlinkMessage, that_is_cut_short_is_not_read_past_its_end) {
    const Message whole =
        port(DEVLINK_CMD_PORT_NEW, 1).number(DEVLINK_ATTR_PORT_NETDEV_IFINDEX, 1U);
    const uint32_t length = whole.get()->nlmsg_len;
    unsigned read = 0;
    for (uint32_t cut = 0; cut <= length; cut++) {
        // A buffer of just that size, so that a sanitizer sees what is read behind it.
        std::vector<char> bytes(reinterpret_cast<const char *>(whole.get()),
                                reinterpret_cast<const char *>(whole.get()) + cut);
        bytes.shrink_to_fit();
        if (cut >= sizeof(nlmsghdr)) {
            auto *const header = reinterpret_cast<nlmsghdr *>(bytes.data());
            header->nlmsg_len = cut;
            read += parse_devlink(header).has_value() ? 1 : 0;
        }
    }
    EXPECT_GE(read, 1U);
    EXPECT_LT(read, length / 2);
}

}  // namespace
}  // namespace vdpa::agent::host
