// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "ovs-vdpa-agent/host/representors.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {

/* A NIC whose representors are TAPs, and an Open vSwitch whose datapaths are Linux bridges. As the
 * kernel's, it finds a port by name only where that was the netdev's when it was attached. What is
 * done to it outlives the process that does it. */
class FakeSwitch : public Switch {
  public:
    struct State {
        std::map<uint32_t, int> netdevs;              // by devlink port
        std::map<int, std::string> attached_as = {};  // names of vports, by ifindex
        std::string mac_folder = {};                  // a file for each VF
        bool is_ovs = true;                           // or else they are plain bridges
        bool has_mac = true;
        int mac_error = 0;
        int netdev_error = 0;
        int remove_error = 0;
        bool mac_sticks = true;
        unsigned macs_set = 0;
        unsigned macs_read = 0;
    };
    explicit FakeSwitch(State &state) : state_(state) {}

    NetResult<std::optional<int>> netdev(const Handle &device, uint32_t devlink_port) override;
    NetResult<std::optional<Mac>> mac(const FunctionPort &port) override;
    NetResult<void> set_mac(const FunctionPort &port, const Mac &mac) override;
    NetResult<std::optional<uint32_t>> find_vport(int datapath, int ifindex) override;
    NetResult<bool> finds_vport(int datapath, const std::string &name) override;
    NetResult<void> remove_vport(int datapath, uint32_t number) override;

  private:
    std::string mac_path(const FunctionPort &port) const;
    State &state_;
};

/* Representors eth0, eth1, ... of one PF, and a datapath br0. */
class RepresentorTest : public NamespaceTest {
  protected:
    void SetUp() override;
    void TearDown() override;

    /* As an agent that has just started. */
    Representors open();
    /* Makes the netdev of a VF and tells what a row that wants it asks for. */
    RepresentorSpec make_representor(uint32_t vf);

    void attach(const std::string &name);
    void detach(const std::string &name);
    bool is_attached(const std::string &name);
    /* Whether every port of the datapath still has the name that it was attached as. */
    bool nothing_is_wedged();
    Link link(int ifindex);
    std::string name_of(const RepresentorSpec &spec) { return link(spec.ifindex).name; }
    bool is_up(const RepresentorSpec &spec);

    std::string mac_of(uint32_t vf) { return read_file(folder.path("mac" + std::to_string(vf))); }
    std::optional<OwnedRepresentor> recorded(const std::string &name);

    FakeSwitch::State nic;
};

}  // namespace vdpa::agent::host
