// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/device_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::HasSubstr;
using testing::StartsWith;

const Handle pf{"pci", "0000:43:00.0"};

FunctionId function(Flavour flavour, uint32_t number, std::optional<uint16_t> pf_number = {},
                    std::optional<uint32_t> controller = {}) {
    return {pf, controller, pf_number, flavour, number};
}

TEST(ParsePf, takes_addresses_and_handles) {
    EXPECT_EQ(parse_pf("0000:43:00.0"), pf);
    EXPECT_EQ(parse_pf("43:00.0"), pf);
    EXPECT_EQ(parse_pf("pci/0000:43:00.0"), pf);
    EXPECT_EQ(parse_pf("0000:AB:1F.7"), (Handle{"pci", "0000:ab:1f.7"}));
    EXPECT_EQ(parse_pf("10000:01:00.0"), (Handle{"pci", "10000:01:00.0"}));
    EXPECT_EQ(parse_pf("netdevsim/netdevsim10"), (Handle{"netdevsim", "netdevsim10"}));
    EXPECT_EQ(parse_pf("auxiliary/mlx5_core.sf.4"), (Handle{"auxiliary", "mlx5_core.sf.4"}));
}

TEST(ParsePf, refuses_everything_else) {
    for (const char *text : {"",
                             "/",
                             "pci/",
                             "/x",
                             "eth0",
                             "0000:43:00",
                             "0000:43:00.8",
                             "0000:43:20.0",
                             "000:43:00.0",
                             "0000:143:00.0",
                             "0000:43:00.0 ",
                             " 43:00.0",
                             "0000:43:00.01",
                             "0000:43:0.0",
                             "pci/eth0",
                             "a/b/c",
                             "netdevsim/..",
                             "net devsim/x",
                             "123456789:43:00.0",
                             "0000:43:00.-1",
                             "netdevsim/a,b"}) {
        const auto result = parse_pf(text);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().reason, Reason::bad_device);
        EXPECT_THAT(result.error().detail, StartsWith(std::string(text) + ": must be"));
    }
}

TEST(ParseAccelerator, takes_devices_of_dpdk_drivers) {
    EXPECT_EQ(parse_accelerator("0000:43:00.2"),
              RequestedDevice(DpdkDevice{{"pci", "0000:43:00.2"}, ""}));
    EXPECT_EQ(parse_accelerator("pci:43:00.2,class=vdpa,event_mode=1"),
              RequestedDevice(DpdkDevice{{"pci", "0000:43:00.2"}, "class=vdpa,event_mode=1"}));
    EXPECT_EQ(parse_accelerator("auxiliary:mlx5_core.sf.4,a="),
              RequestedDevice(DpdkDevice{{"auxiliary", "mlx5_core.sf.4"}, "a="}));
}

TEST(ParseAccelerator, takes_devices_of_the_kernel) {
    EXPECT_EQ(parse_accelerator("vdpa:vdpa0"), RequestedDevice(KernelDevice{"vdpa0", ""}));
    EXPECT_EQ(parse_accelerator("vdpa:vm@1"), RequestedDevice(KernelDevice{"vm@1", ""}));
    EXPECT_EQ(parse_accelerator("/dev/vhost-vdpa-12"),
              RequestedDevice(KernelDevice{"", "/dev/vhost-vdpa-12"}));
    EXPECT_EQ(parse_accelerator("vdpa:pci/43:00.2"),
              RequestedDevice(ManagedDevice{"pci/0000:43:00.2"}));
    EXPECT_EQ(parse_accelerator("vdpa:auxiliary/mlx5_core.sf.2"),
              RequestedDevice(ManagedDevice{"auxiliary/mlx5_core.sf.2"}));
    // Which of the two it is the inventory tells.
    EXPECT_EQ(parse_accelerator("vdpa:vdpasim_net"),
              RequestedDevice(KernelDevice{"vdpasim_net", ""}));
}

TEST(ParseAccelerator, refuses_everything_else) {
    for (const char *text : {"",
                             "eth0",
                             "net_tap0,iface=x",
                             "0000:43:00.2,",
                             "0000:43:00.2,,a=b",
                             "0000:43:00.2,a",
                             "0000:43:00.2,=b",
                             "0000:43:00.2,a=b,",
                             "0000:43:00.2,a=\x01",
                             "0000:43:00.2,a=\xc3\xa4",
                             "0000:43:00.2 a=b",
                             "auxiliary:",
                             "auxiliary:a/b",
                             "vdpa:",
                             "vdpa:a,b",
                             "vdpa:a b",
                             "vdpa:0000:43:00.2",
                             "vdpa:pci/x",
                             "vdpa:a/b/c",
                             "/dev/vhost-vdpa-",
                             "/dev/vhost-vdpa-x",
                             "/dev/vhost-vdpa-1x",
                             "/dev/vhost-vdpa-01",
                             "/dev/vhost-vdpa-1048576",
                             "/dev/vhost-vdpa-99999999999",
                             "/dev/../dev/vhost-vdpa-1"}) {
        const auto result = parse_accelerator(text);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().reason, Reason::bad_device);
        EXPECT_THAT(result.error().detail,
                    StartsWith("vdpa-accelerator-devargs=" + std::string(text) + ": "));
    }
}

TEST(ParseAccelerator, says_how_a_device_is_made_of_a_function) {
    EXPECT_THAT(parse_accelerator("vdpa:43:00.2").error().detail,
                HasSubstr("write vdpa:pci/0000:43:00.2"));
}

TEST(ParseRepresentor, takes_vfs_and_sfs) {
    EXPECT_EQ(parse_representor("0000:43:00.0,vf3"), function(Flavour::vf, 3));
    EXPECT_EQ(parse_representor("43:00.0,sf88"), function(Flavour::sf, 88));
    EXPECT_EQ(parse_representor("43:00.0,pf1vf3"), function(Flavour::vf, 3, 1));
    EXPECT_EQ(parse_representor("43:00.0,pf0sf4294967295"), function(Flavour::sf, 4294967295, 0));
    EXPECT_EQ(parse_representor("43:00.0,c1pf0vf3"), function(Flavour::vf, 3, 0, 1));
    EXPECT_EQ(parse_representor("43:00.0,c0pf0vf3"), function(Flavour::vf, 3, 0));
    EXPECT_EQ(parse_representor("netdevsim/netdevsim10,vf0"),
              (FunctionId{{"netdevsim", "netdevsim10"}, {}, {}, Flavour::vf, 0}));
}

TEST(ParseRepresentor, refuses_everything_else) {
    for (const char *text : {"",
                             ",",
                             "vf3",
                             "43:00.0",
                             "43:00.0,",
                             "43:00.0,3",
                             "43:00.0,[3]",
                             "43:00.0,vf[3]",
                             "43:00.0,vf",
                             "43:00.0,vf03",
                             "43:00.0,vf-1",
                             "43:00.0,vf+1",
                             "43:00.0,vf3x",
                             "43:00.0,vf3,vf4",
                             "43:00.0,vf65536",
                             "43:00.0,sf4294967296",
                             "43:00.0,pf65536vf1",
                             "43:00.0,pf1",
                             "43:00.0,c1vf1",
                             "43:00.0,c1",
                             "43:00.0,pfvf1",
                             "43:00.0,VF1",
                             "43:00.0, vf1",
                             "eth0,vf1"}) {
        const auto result = parse_representor(text);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().reason, Reason::bad_representor);
        EXPECT_THAT(result.error().detail,
                    StartsWith("vdpa-representor=" + std::string(text) + ": "));
    }
}

TEST(ParseDpdkDevargs, takes_all_spellings_of_one_function) {
    for (const char *representor : {"vf3", "3", "[3]", "vf[3]"}) {
        EXPECT_EQ(parse_dpdk_devargs(std::string("0000:43:00.0,representor=") + representor),
                  function(Flavour::vf, 3))
            << representor;
    }
    for (const char *representor :
         {"pf1vf3", "pf[1]vf3", "pf[1]vf[3]", "c0pf1vf3", "c[0]pf1vf[3]"}) {
        EXPECT_EQ(parse_dpdk_devargs(std::string("0000:43:00.0,representor=") + representor),
                  function(Flavour::vf, 3, 1))
            << representor;
    }
    EXPECT_EQ(parse_dpdk_devargs("pci:43:00.0,representor=sf3"), function(Flavour::sf, 3));
    EXPECT_EQ(parse_dpdk_devargs("43:00.0,representor=c2pf0vf3"), function(Flavour::vf, 3, 0, 2));
    EXPECT_EQ(parse_dpdk_devargs("43:00.0,dv_flow_en=2,x=[1,2],representor=[3],probe_opt_en=0"),
              function(Flavour::vf, 3));
}

TEST(ParseDpdkDevargs, refuses_what_is_not_one_function) {
    for (const char *text : {"",
                             "43:00.0",
                             "43:00.0,",
                             "43:00.0,dv_flow_en=2",
                             "net_tap0,representor=1",
                             "class=eth,mac=00:11:22:33:44:55",
                             "43:00.0,representor=",
                             "43:00.0,representor=[]",
                             "43:00.0,representor=[0-3]",
                             "43:00.0,representor=[0,3]",
                             "43:00.0,representor=vf[0-3]",
                             "43:00.0,representor=vf0-3",
                             "43:00.0,representor=[3",
                             "43:00.0,representor=3]",
                             "43:00.0,representor=pf[0,1]vf3",
                             "43:00.0,representor=(vf3,vf4)",
                             "43:00.0,representor=pf1",
                             "43:00.0,representor=-1",
                             "43:00.0,representor=65536",
                             "43:00.0,representor=[[3]]",
                             "43:00.0,representor=vf3,representor=vf4",
                             "43:00.0,Representor=3"}) {
        const auto result = parse_dpdk_devargs(text);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().reason, Reason::bad_representor);
        EXPECT_THAT(result.error().detail, StartsWith("dpdk-devargs=" + std::string(text) + ": "));
    }
}

TEST(ParseDeviceRequest, puts_together_what_a_row_says) {
    EXPECT_EQ(parse_device_request({}), DeviceRequest());
    DeviceRequest expected;
    expected.device = DpdkDevice{{"pci", "0000:43:00.2"}, ""};
    expected.representor = function(Flavour::vf, 0);
    EXPECT_EQ(parse_device_request({"0000:43:00.2", "43:00.0,vf0", false, {}}), expected);
    // dpdk-devargs means something on rows of type dpdk only.
    EXPECT_EQ(parse_device_request({"0000:43:00.2", "43:00.0,vf0", false, "x"}), expected);
    expected.is_dpdk_port = true;
    EXPECT_EQ(parse_device_request({"0000:43:00.2", {}, true, "43:00.0,representor=[0]"}),
              expected);
}

TEST(ParseDeviceRequest, takes_a_function_that_is_named_twice) {
    DeviceRequest expected;
    expected.representor = function(Flavour::vf, 3, 0);
    expected.is_dpdk_port = true;
    EXPECT_EQ(parse_device_request({{}, "43:00.0,pf0vf3", true, "43:00.0,representor=3"}),
              expected);
    EXPECT_EQ(parse_device_request({{}, "43:00.0,vf3", true, "43:00.0,representor=pf0vf3"}),
              expected);
    const auto differ = parse_device_request({{}, "43:00.0,vf4", true, "43:00.0,representor=3"});
    ASSERT_FALSE(differ);
    EXPECT_EQ(differ.error(), (Error{Reason::device_mismatch,
                                     "vdpa-representor=43:00.0,vf4 and "
                                     "dpdk-devargs=43:00.0,representor=3 name different "
                                     "functions: remove vdpa-representor"}));
}

TEST(ParseDeviceRequest, passes_on_what_is_wrong) {
    EXPECT_EQ(parse_device_request({"x", {}, false, {}}).error().reason, Reason::bad_device);
    EXPECT_EQ(parse_device_request({{}, "x", false, {}}).error().reason, Reason::bad_representor);
    EXPECT_EQ(parse_device_request({{}, {}, true, {}}).error().reason, Reason::bad_representor);
}

TEST(ParseDeviceRequest, echoes_little_of_what_is_long) {
    const std::string longest(1 << 20, '[');
    EXPECT_LT(parse_device_request({longest, {}, false, {}}).error().detail.size(), 500U);
    EXPECT_LT(parse_device_request({{}, longest, false, {}}).error().detail.size(), 500U);
    EXPECT_LT(parse_device_request({{}, {}, true, longest}).error().detail.size(), 500U);
    EXPECT_LT(parse_pf(longest).error().detail.size(), 500U);
}

TEST(FunctionIdText, is_read_again) {
    for (const FunctionId &id :
         {function(Flavour::vf, 3), function(Flavour::sf, 88, 1), function(Flavour::vf, 0, 0, 1)}) {
        EXPECT_EQ(parse_representor(id.text()), id) << id.text();
    }
}

}  // namespace
}  // namespace vdpa::agent::host
