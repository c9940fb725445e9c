// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/netlink.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"

namespace vdpa::agent::host {

/* What VdpaDevices asks of the kernel, as an interface because few machines have vDPA. Calls block;
 * not thread-safe. EPROTONOSUPPORT: the kernel has no vDPA. */
class VdpaKernel {
  public:
    virtual ~VdpaKernel() = default;

    /* The management device that the device of that name was made of; nothing if there is no such
     * device. */
    virtual NetResult<std::optional<std::string>> management(const std::string &name) = 0;
    /* Makes a device with those of MAC address, MTU and number of queue pairs (of 1, the default,
     * nothing is said) that the spec has. ENODEV: no such management device. EOPNOTSUPP: it cannot
     * set one of them. EEXIST: the name is taken. */
    virtual NetResult<void> add(const VdpaSpec &spec) = 0;
    /* Waits, with a lock that all other requests need, until nobody has the device open. */
    virtual NetResult<void> remove(const std::string &name) = 0;
    /* Vendor statistics of one queue. */
    virtual NetResult<VdpaCounters> counters(const std::string &name, uint32_t queue) = 0;
    /* Whether somebody has the character device open. If nobody has, this resets the device. Error:
     * this process may not look, so nobody knows. */
    virtual NetResult<bool> is_open(const std::string &path) = 0;
};

/* By the vdpa netlink family, which is there in the initial network namespace only. */
class KernelVdpa : public VdpaKernel {
  public:
    NetResult<std::optional<std::string>> management(const std::string &name) override;
    NetResult<void> add(const VdpaSpec &spec) override;
    NetResult<void> remove(const std::string &name) override;
    NetResult<VdpaCounters> counters(const std::string &name, uint32_t queue) override;
    NetResult<bool> is_open(const std::string &path) override;

  private:
    /* A request about the device; `each` is called for the answers. */
    NetResult<void> run(uint8_t command, const std::string &name,
                        const std::function<bool(nl_msg *)> &fill = {},
                        const std::function<void(nlmsghdr *)> &each = {});

    std::optional<GenericNetlink> netlink_;
};

}  // namespace vdpa::agent::host
