// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/device_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vdpa::agent::config {
namespace {

using schema::Reason;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class NoAccounts : public Accounts {
  public:
    Account find(const AccountName &) const override { return {}; }
    void look_up(const AccountName &) override {}
    void forget(const AccountName &) override {}
};

/* A row that asks for a device, and what is made of it. */
class DeviceConfig : public testing::Test {
  protected:
    ParsedRow parse() const { return parse_row(row, {}, NoAccounts()); }
    PortConfig config() const {
        const ParsedRow parsed = parse();
        EXPECT_TRUE(parsed.config) << parsed.config.error().detail;
        return parsed.config.value_or(PortConfig());
    }
    host::DeviceRequest request() const {
        const auto device = config().device;
        EXPECT_TRUE(device);
        return device.value_or(host::DeviceRequest());
    }
    Error error() const {
        const ParsedRow parsed = parse();
        EXPECT_FALSE(parsed.config);
        return parsed.config ? Error{Reason::engine_error, ""} : parsed.config.error();
    }

    ovs::InterfaceRow row = [] {
        ovs::InterfaceRow good;
        good.name = "vm1";
        good.bridge = "br0";
        good.options = {{"vdpa-socket", "/run/1.sock"}};
        return good;
    }();
};

TEST_F(DeviceConfig, of_an_emulated_vf_is_a_tap_of_the_port_s_name) {
    row.options["vdpa-sw"] = "true";
    EXPECT_EQ(config().device, std::nullopt);
    EXPECT_EQ(config().engine.device, (schema::DeviceSpec{schema::DeviceKind::tap, "vm1"}));
}

TEST_F(DeviceConfig, without_any_key_is_for_the_representor_s_name_to_tell) {
    EXPECT_EQ(request(), host::DeviceRequest());
    row.options["vdpa-sw"] = "false";
    EXPECT_EQ(request(), host::DeviceRequest());
}

TEST_F(DeviceConfig, has_the_accelerator_and_the_representor) {
    row.options["vdpa-accelerator-devargs"] = "43:00.2,class=vdpa";
    row.external_ids["vdpa-representor"] = "0000:43:00.0,vf0";
    const host::DeviceRequest wanted = request();
    const host::DpdkDevice device{{"pci", "0000:43:00.2"}, "class=vdpa"};
    EXPECT_EQ(wanted.device, host::RequestedDevice(device));
    ASSERT_TRUE(wanted.representor);
    EXPECT_EQ(wanted.representor->pf.text(), "pci/0000:43:00.0");
    EXPECT_FALSE(wanted.is_dpdk_port);
}

TEST_F(DeviceConfig, of_a_dpdk_port_has_the_representor_of_its_devargs) {
    row.type = "dpdk";
    row.name = "a-name-longer-than-a-netdev-s";
    row.options["dpdk-devargs"] = "0000:43:00.0,representor=[3]";
    const host::DeviceRequest wanted = request();
    EXPECT_TRUE(wanted.is_dpdk_port);
    ASSERT_TRUE(wanted.representor);
    EXPECT_EQ(wanted.representor->number, 3U);
}

TEST_F(DeviceConfig, of_a_dpdk_port_may_have_a_name_that_engine_and_record_can_hold) {
    row.type = "dpdk";
    row.options["dpdk-devargs"] = "0000:43:00.0,representor=[3]";
    row.name = std::string(255, 'x');
    EXPECT_TRUE(request().is_dpdk_port);
    row.name += "x";
    EXPECT_EQ(error().reason, Reason::bad_name);
    EXPECT_THAT(error().detail, HasSubstr("256"));
}

TEST_F(DeviceConfig, does_not_look_at_devargs_of_other_types) {
    row.options["dpdk-devargs"] = "nonsense";
    EXPECT_EQ(request().representor, std::nullopt);
}

TEST_F(DeviceConfig, names_what_is_malformed) {
    row.options["vdpa-accelerator-devargs"] = "vdpa0";
    EXPECT_EQ(error().reason, Reason::bad_device);
    EXPECT_THAT(error().detail, HasSubstr("vdpa-accelerator-devargs=vdpa0"));
    row.options["vdpa-accelerator-devargs"] = "0000:43:00.2";
    row.options["vdpa-representor"] = "0000:43:00.0,vf";
    EXPECT_EQ(error().reason, Reason::bad_representor);
    EXPECT_THAT(error().detail, HasSubstr("vdpa-representor=0000:43:00.0,vf"));
}

TEST_F(DeviceConfig, of_the_software_datapath_on_a_device_is_not_served_and_says_so) {
    row.options["vdpa-sw"] = "true";
    row.options["vdpa-accelerator-devargs"] = "0000:43:00.2";
    EXPECT_EQ(error().reason, Reason::device_unsupported);
    EXPECT_THAT(error().detail, AllOf(HasSubstr("vdpa-sw=true"),
                                      HasSubstr("vdpa-accelerator-devargs=0000:43:00.2")));
    row.options.erase("vdpa-accelerator-devargs");
    row.options["vdpa-representor"] = "0000:43:00.0,vf0";
    EXPECT_EQ(error().reason, Reason::device_unsupported);
    row.options.erase("vdpa-representor");
    row.type = "dpdk";
    EXPECT_EQ(error().reason, Reason::device_unsupported);
}

TEST_F(DeviceConfig, offers_offloads_whatever_the_bridge_is) {
    row.datapath_type = "netdev";
    EXPECT_TRUE(config().engine.offloads);
    EXPECT_THAT(parse().notices, IsEmpty());
}

TEST_F(DeviceConfig, takes_the_mac_address_of_the_first_key_that_has_one) {
    EXPECT_EQ(config().mac, "");
    row.external_ids["attached-mac"] = "FA:16:3E:00:00:01";
    EXPECT_EQ(config().mac, "fa:16:3e:00:00:01");
    row.options["dpdk-vf-mac"] = "fa:16:3e:00:00:01";
    row.options["vdpa-vf-mac"] = "fa:16:3e:00:00:01";
    EXPECT_EQ(config().mac, "fa:16:3e:00:00:01");
    EXPECT_FALSE(config().switch_sets_mac);
}

TEST_F(DeviceConfig, names_mac_addresses_that_differ) {
    row.options["vdpa-vf-mac"] = "02:00:00:00:00:01";
    row.external_ids["attached-mac"] = "02:00:00:00:00:02";
    EXPECT_EQ(error().reason, Reason::bad_mac);
    EXPECT_THAT(error().detail, AllOf(HasSubstr("vdpa-vf-mac=02:00:00:00:00:01"),
                                      HasSubstr("external_ids:attached-mac=02:00:00:00:00:02")));
    row.options.erase("vdpa-vf-mac");
    row.options["dpdk-vf-mac"] = "02:00:00:00:00:03";
    EXPECT_THAT(error().detail, AllOf(HasSubstr("options:dpdk-vf-mac=02:00:00:00:00:03"),
                                      HasSubstr("external_ids:attached-mac")));
}

TEST_F(DeviceConfig, names_mac_addresses_that_are_none) {
    row.external_ids["attached-mac"] = "02:00:00:00:00";
    EXPECT_EQ(error().reason, Reason::bad_mac);
    EXPECT_THAT(error().detail, HasSubstr("external_ids:attached-mac=02:00:00:00:00"));
    row.external_ids["attached-mac"] = std::string(100'000, 'f');
    EXPECT_LT(error().detail.size(), 1024U);
}

TEST_F(DeviceConfig, leaves_the_mac_address_of_an_emulated_vf_to_its_guest) {
    row.options["vdpa-sw"] = "true";
    row.external_ids["attached-mac"] = "nonsense";
    EXPECT_EQ(config().mac, "");
}

TEST_F(DeviceConfig, knows_when_ovs_vswitchd_writes_the_mac_address) {
    row.options["dpdk-vf-mac"] = "02:00:00:00:00:01";
    EXPECT_FALSE(config().switch_sets_mac) << "netdev-linux does not know the key";
    row.type = "dpdk";
    row.options["dpdk-devargs"] = "0000:43:00.0,representor=vf3";
    EXPECT_TRUE(config().switch_sets_mac);
    EXPECT_EQ(config().mac, "02:00:00:00:00:01");
}

TEST_F(DeviceConfig, takes_the_mtu_that_the_switch_reports) {
    EXPECT_EQ(config().mtu, std::nullopt);
    row.mtu = 9000;
    EXPECT_EQ(config().mtu, 9000);
    for (const int64_t bad : {int64_t{-1}, int64_t{0}, int64_t{67}, int64_t{65'536}, INT64_MAX}) {
        row.mtu = bad;
        EXPECT_EQ(config().mtu, std::nullopt) << bad;
    }
}

TEST_F(DeviceConfig, takes_the_mtu_that_is_asked_for_until_the_switch_reports_one) {
    row.mtu_request = 1400;
    EXPECT_EQ(config().mtu, 1400);
    row.mtu = 1500;
    EXPECT_EQ(config().mtu, 1500) << "the netdev may have taken no other";
}

}  // namespace
}  // namespace vdpa::agent::config
