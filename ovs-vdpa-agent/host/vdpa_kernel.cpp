// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_kernel.hpp"

#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/vdpa.h>
#include <netlink/genl/genl.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/attributes.hpp"
#include "ovs-vdpa-agent/host/mac.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

using Answer = Attributes<VDPA_ATTR_MAX>;

/* "pci/0000:43:00.2", or a bare name where the device has no bus. */
bool put_management(nl_msg *message, const std::string &management) {
    const size_t slash = management.find('/');
    const std::string device =
        slash == std::string::npos ? management : management.substr(slash + 1);
    return (slash == std::string::npos ||
            nla_put_string(message, VDPA_ATTR_MGMTDEV_BUS_NAME,
                           management.substr(0, slash).c_str()) >= 0) &&
           nla_put_string(message, VDPA_ATTR_MGMTDEV_DEV_NAME, device.c_str()) >= 0;
}

/* The counters are pairs of attributes, a name and then its value (drivers/vdpa/mlx5/net/
 * mlx5_vnet.c, mlx5_get_vendor_vq_stats()). */
VdpaCounters parse_counters(nlmsghdr *header) {
    VdpaCounters counters;
    auto *body = static_cast<genlmsghdr *>(nlmsg_data(header));
    std::string name;
    nlattr *attribute = nullptr;
    int left = 0;
    nla_for_each_attr(attribute, genlmsg_attrdata(body, 0), genlmsg_attrlen(body, 0), left) {
        if (nla_type(attribute) == VDPA_ATTR_DEV_VENDOR_ATTR_NAME) {
            const auto *begin = static_cast<const char *>(nla_data(attribute));
            name.assign(begin, ::strnlen(begin, static_cast<size_t>(nla_len(attribute))));
        } else if (nla_type(attribute) == VDPA_ATTR_DEV_VENDOR_ATTR_VALUE && !name.empty() &&
                   nla_len(attribute) >= static_cast<int>(sizeof(uint64_t))) {
            counters[name] = nla_get_u64(attribute);
            name.clear();
        }
    }
    return counters;
}

}  // namespace

NetResult<void> KernelVdpa::run(uint8_t command, const std::string &name,
                                const std::function<bool(nl_msg *)> &fill,
                                const std::function<void(nlmsghdr *)> &each) {
    if (!netlink_) {
        auto opened = GenericNetlink::open(VDPA_GENL_NAME, VDPA_GENL_VERSION);
        if (!opened) {
            return tl::make_unexpected(opened.error());
        }
        if (!*opened) {
            return tl::make_unexpected(
                NetlinkError{EPROTONOSUPPORT, "the kernel has no vDPA (module vdpa)"});
        }
        netlink_ = std::move(*opened);
    }
    const NlMessage message = netlink_->request(command);
    if (!message || nla_put_string(message.get(), VDPA_ATTR_DEV_NAME, name.c_str()) < 0 ||
        (fill && !fill(message.get()))) {
        return no_memory();
    }
    return netlink_->run(message.get(), each);
}

NetResult<std::optional<std::string>> KernelVdpa::management(const std::string &name) {
    std::optional<std::string> management;
    const auto done = run(VDPA_CMD_DEV_GET, name, {}, [&management](nlmsghdr *header) {
        const Answer answer(header, GENL_HDRLEN);
        const std::string bus = answer.text(VDPA_ATTR_MGMTDEV_BUS_NAME);
        management = (bus.empty() ? "" : bus + "/") + answer.text(VDPA_ATTR_MGMTDEV_DEV_NAME);
    });
    if (!done && !done.error().is_gone()) {
        return tl::make_unexpected(done.error());
    }
    return management;
}

NetResult<void> KernelVdpa::add(const VdpaSpec &spec) {
    const auto mac = parse_mac(spec.mac);
    return run(VDPA_CMD_DEV_NEW, spec.name, [&](nl_msg *message) {
        return put_management(message, spec.management) &&
               (!mac || nla_put(message, VDPA_ATTR_DEV_NET_CFG_MACADDR,
                                static_cast<int>(mac->size()), mac->data()) >= 0) &&
               (!spec.mtu || nla_put_u16(message, VDPA_ATTR_DEV_NET_CFG_MTU, *spec.mtu) >= 0) &&
               (spec.max_pairs <= 1 ||
                nla_put_u16(message, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, spec.max_pairs) >= 0);
    });
}

NetResult<void> KernelVdpa::remove(const std::string &name) {
    return run(VDPA_CMD_DEV_DEL, name);
}

NetResult<VdpaCounters> KernelVdpa::counters(const std::string &name, uint32_t queue) {
    VdpaCounters counters;
    const auto done = run(
        VDPA_CMD_DEV_VSTATS_GET, name,
        [queue](nl_msg *message) {
            return nla_put_u32(message, VDPA_ATTR_DEV_QUEUE_INDEX, queue) >= 0;
        },
        [&counters](nlmsghdr *header) { counters = parse_counters(header); });
    return done.map([&counters] { return counters; });
}

NetResult<bool> KernelVdpa::is_open(const std::string &path) {
    // One at a time may have it open, which the driver looks at before everything else
    // (vhost_vdpa_open() in drivers/vhost/vdpa.c): after any other error of its nobody has.
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    const int error = fd ? 0 : errno;
    switch (error) {
        case EPERM:  // says the device cgroup to a unit without DeviceAllow=, however privileged
        case EACCES:
        case EMFILE:
        case ENFILE:
            return tl::make_unexpected(NetlinkError{error, errno_text(error)});
        default:
            return error == EBUSY;
    }
}

}  // namespace vdpa::agent::host
