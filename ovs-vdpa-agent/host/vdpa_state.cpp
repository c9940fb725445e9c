// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_state.hpp"

#include <dirent.h>
#include <linux/genetlink.h>
#include <linux/vdpa.h>
#include <linux/virtio_ids.h>
#include <netlink/msg.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "ovs-vdpa-agent/host/attributes.hpp"

namespace vdpa::agent::host {

namespace {

using VdpaAttributes = Attributes<VDPA_ATTR_MAX>;

/* A simulator's is on no bus. */
std::string management_name(const VdpaAttributes &attributes) {
    const std::string bus = attributes.text(VDPA_ATTR_MGMTDEV_BUS_NAME);
    return (bus.empty() ? "" : bus + "/") + attributes.text(VDPA_ATTR_MGMTDEV_DEV_NAME);
}

/* /dev/vhost-vdpa-N: the vhost_vdpa driver makes a device of that name below the vDPA device. */
std::optional<std::string> character_device(const std::string &root, const std::string &name) {
    constexpr std::string_view prefix = "vhost-vdpa-";
    struct Closer {
        void operator()(DIR *folder) const { ::closedir(folder); }
    };
    const std::unique_ptr<DIR, Closer> folder(
        ::opendir((root + "/bus/vdpa/devices/" + name).c_str()));
    while (folder) {
        const dirent *entry = ::readdir(folder.get());
        if (!entry) {
            break;
        }
        if (std::string_view(entry->d_name).starts_with(prefix)) {
            return "/dev/" + std::string(entry->d_name);
        }
    }
    return std::nullopt;
}

NetResult<void> dump(GenericNetlink &vdpa, uint8_t command,
                     const std::function<void(nlmsghdr *)> &each) {
    const NlMessage request = vdpa.request(command, NLM_F_DUMP);
    return request ? vdpa.run(request.get(), each) : NetResult<void>(no_memory());
}

/* Asked of each device by itself: a dump ends at the first that is no network device
 * (vdpa_dev_config_dump() in drivers/vdpa/vdpa.c). */
NetResult<void> read_config(GenericNetlink &vdpa, VdpaDevice &device) {
    const NlMessage request = vdpa.request(VDPA_CMD_DEV_CONFIG_GET);
    if (!request || nla_put_string(request.get(), VDPA_ATTR_DEV_NAME, device.name.c_str()) < 0) {
        return no_memory();
    }
    return vdpa.run(request.get(),
                    [&device](nlmsghdr *header) { parse_vdpa_config(header, device); });
}

}  // namespace

std::optional<VdpaManagement> parse_vdpa_management(nlmsghdr *message) {
    const VdpaAttributes attributes(message, GENL_HDRLEN);
    VdpaManagement management;
    management.name = management_name(attributes);
    if (!attributes.has(VDPA_ATTR_MGMTDEV_DEV_NAME)) {
        return std::nullopt;
    }
    const auto classes =
        attributes.number<uint64_t>(VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES).value_or(0);
    management.has_net = (classes >> VIRTIO_ID_NET & 1U) != 0;
    management.max_virtqueues =
        attributes.number<uint32_t>(VDPA_ATTR_DEV_MGMTDEV_MAX_VQS).value_or(0);
    return management;
}

std::optional<VdpaDevice> parse_vdpa_device(nlmsghdr *message) {
    const VdpaAttributes attributes(message, GENL_HDRLEN);
    VdpaDevice device;
    device.name = attributes.text(VDPA_ATTR_DEV_NAME);
    if (device.name.empty() ||
        attributes.number<uint32_t>(VDPA_ATTR_DEV_ID) != uint32_t{VIRTIO_ID_NET}) {
        return std::nullopt;
    }
    device.management = management_name(attributes);
    device.max_virtqueues = attributes.number<uint32_t>(VDPA_ATTR_DEV_MAX_VQS).value_or(0);
    return device;
}

void parse_vdpa_config(nlmsghdr *message, VdpaDevice &device) {
    const VdpaAttributes attributes(message, GENL_HDRLEN);
    device.mac = mac_text(attributes.get(VDPA_ATTR_DEV_NET_CFG_MACADDR));
    device.mtu = attributes.number<uint16_t>(VDPA_ATTR_DEV_NET_CFG_MTU);
    device.max_pairs = attributes.number<uint16_t>(VDPA_ATTR_DEV_NET_CFG_MAX_VQP);
}

NetResult<VdpaState> read_vdpa(const std::string &root) {
    VdpaState state;
    state.has_vhost_driver = ::access((root + "/bus/vdpa/drivers/vhost_vdpa").c_str(), F_OK) == 0;
    auto family = GenericNetlink::open(VDPA_GENL_NAME, VDPA_GENL_VERSION);
    if (!family) {
        return tl::make_unexpected(family.error());
    }
    if (!*family) {
        return state;
    }
    GenericNetlink &vdpa = **family;
    state.has_family = true;
    auto done = dump(vdpa, VDPA_CMD_MGMTDEV_GET, [&state](nlmsghdr *header) {
        if (auto management = parse_vdpa_management(header)) {
            state.managements.push_back(std::move(*management));
        }
    });
    if (done) {
        done = dump(vdpa, VDPA_CMD_DEV_GET, [&state](nlmsghdr *header) {
            if (auto device = parse_vdpa_device(header)) {
                state.devices.push_back(std::move(*device));
            }
        });
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    for (VdpaDevice &device : state.devices) {
        // One that cannot say what it is like, or that is gone, is told of as far as it is known.
        (void)read_config(vdpa, device);
        device.path = character_device(root, device.name);
    }
    std::ranges::sort(state.devices, {}, &VdpaDevice::name);
    std::ranges::sort(state.managements, {}, &VdpaManagement::name);
    return state;
}

}  // namespace vdpa::agent::host
