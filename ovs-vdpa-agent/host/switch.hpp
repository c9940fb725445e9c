// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "ovs-vdpa-agent/host/devlink_requests.hpp"
#include "ovs-vdpa-agent/host/function_port.hpp"
#include "ovs-vdpa-agent/host/ovs_vports.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"

namespace vdpa::agent::host {

/* What Representors asks of the NIC's switch and of kernel Open vSwitch, as an interface because
 * few machines have them. Calls block; not thread-safe. */
class Switch {
  public:
    virtual ~Switch() = default;

    /* Interface index of the netdev of a devlink port; nothing if there is no such port, or it has
     * none. */
    virtual NetResult<std::optional<int>> netdev(const Handle &device, uint32_t devlink_port) = 0;

    /* MAC address of the function; nothing if nobody tells. */
    virtual NetResult<std::optional<Mac>> mac(const FunctionPort &port) = 0;
    /* EOPNOTSUPP: there is no way to set it. */
    virtual NetResult<void> set_mac(const FunctionPort &port, const Mac &mac) = 0;

    /* See OvsVports. */
    virtual NetResult<std::optional<uint32_t>> find_vport(int datapath, int ifindex) = 0;
    virtual NetResult<bool> finds_vport(int datapath, const std::string &name) = 0;
    virtual NetResult<void> remove_vport(int datapath, uint32_t number) = 0;
};

/* The kernel's. A socket is opened when it is first needed. */
class KernelSwitch : public Switch {
  public:
    /* `sysfs`: "/sys" but for tests. */
    explicit KernelSwitch(std::string sysfs = "/sys") : sysfs_(std::move(sysfs)) {}

    NetResult<std::optional<int>> netdev(const Handle &device, uint32_t devlink_port) override;
    NetResult<std::optional<Mac>> mac(const FunctionPort &port) override;
    NetResult<void> set_mac(const FunctionPort &port, const Mac &mac) override;
    NetResult<std::optional<uint32_t>> find_vport(int datapath, int ifindex) override;
    NetResult<bool> finds_vport(int datapath, const std::string &name) override;
    NetResult<void> remove_vport(int datapath, uint32_t number) override;

  private:
    NetResult<DevlinkRequests *> devlink();
    NetResult<Rtnl *> rtnl();
    NetResult<OvsVports *> vports();
    /* Interface index of the netdev of the function's PF. An error that is_gone(): the PF itself is
     * no more, and its VFs with it. */
    NetResult<int> pf_index(const FunctionPort &port);
    /* By its device, whatever it is called. */
    NetResult<int> pf_index_by_device(Rtnl &socket, const FunctionPort &port);

    const std::string sysfs_;
    std::optional<DevlinkRequests> devlink_;
    std::optional<Rtnl> rtnl_;
    std::optional<OvsVports> vports_;
};

}  // namespace vdpa::agent::host
