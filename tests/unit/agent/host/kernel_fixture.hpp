// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/device_files.hpp"
#include "ovs-vdpa-agent/host/devlink_requests.hpp"
#include "ovs-vdpa-agent/host/pf_acts.hpp"
#include "ovs-vdpa-agent/host/representors.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {

/* What the output of a command is; none if it fails. */
std::optional<std::string> run(const std::string &command);
/* Looks again and again until it is so. */
bool wait_for(const std::function<bool()> &condition);

/* A switchdev NIC played by the kernel's netdevsim, on the machine itself. Skips where the kernel
 * has none: tests/system/run.sh runs this in a guest that has. */
class NetdevsimTest : public testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    void create();
    void remove();
    /* As an agent that has just started. */
    Representors open();
    PfActs acts() { return PfActs(record()); }
    OwnedFile record() { return OwnedFile(folder.path("owned.json")); }

    /* VFs are made and the eswitch is set to switchdev mode. */
    void prepare(uint32_t vfs);
    /* Interface index of a representor; 0: there is none. */
    int representor(uint32_t vf);
    RepresentorSpec spec(uint32_t vf);
    std::string name_of(int ifindex);
    Link link(int ifindex);
    std::string vf_mac(uint32_t vf);

    const Handle handle{"netdevsim", "netdevsim771"};
    Folder folder;
    bool created = false;
};

/* A datapath of kernel Open vSwitch, br771, that no ovs-vswitchd cares for. Skips where it is not
 * loaded. */
class DatapathTest : public NetdevsimTest {
  protected:
    void SetUp() override;
    void TearDown() override;

    /* Attaches the netdev of that name; an errno. */
    int attach(const std::string &name);
    bool is_port(int ifindex);
    std::string master_of(int ifindex);

    std::optional<OvsVports> vports;
    int datapath = 0;
};

}  // namespace vdpa::agent::host
