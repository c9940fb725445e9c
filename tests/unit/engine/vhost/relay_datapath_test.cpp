// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/relay_datapath.hpp"

#include "tests/unit/engine/relay/tap_sandbox.hpp"

namespace vdpa::engine::vhost {
namespace {

class RelayDatapathTest : public relay::test::TapSandbox {};

TEST_F(RelayDatapathTest, WhatTheHostRefusesIsInItsStatus) {
    make_tap("vm1");
    auto workers = relay::Workers::start({});
    ASSERT_TRUE(workers) << workers.error().detail;
    schema::PortSpec spec;
    spec.name = "vm1";
    spec.device.name = "vm1";
    spec.max_queues = 2;
    auto datapath = RelayDatapath::make(**workers, spec, false);
    ASSERT_TRUE(datapath) << datapath.error().detail;
    EXPECT_FALSE((*datapath)->status().fault);
    delete_netdev("vm1");
    (*datapath)->new_connection(0);
    const auto fault = (*datapath)->status().fault;
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->reason, schema::Reason::tap_failed);
    EXPECT_NE(fault->detail.find("TAP netdev vm1: "), std::string::npos) << fault->detail;
    EXPECT_NE(fault->detail.find("was deleted"), std::string::npos) << fault->detail;
    (*datapath)->recover();
    EXPECT_EQ((*datapath)->status().fault, fault);
}

}  // namespace
}  // namespace vdpa::engine::vhost
