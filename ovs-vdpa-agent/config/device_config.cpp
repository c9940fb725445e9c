// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/device_config.hpp"

#include "schema/support/option_values.hpp"

namespace vdpa::agent::config {

namespace {

using schema::InterfaceOptions;
using schema::Reason;

std::optional<std::string_view> value_of(const schema::StringMap &map, const char *key) {
    const auto found = map.find(std::string_view(key));
    return found == map.end() ? std::nullopt : std::optional<std::string_view>(found->second);
}

/* What names a device in the row, in words; empty: nothing. */
std::string named_device(const ovs::InterfaceRow &row, const InterfaceOptions &options) {
    if (options.accelerator_devargs) {
        return "vdpa-accelerator-devargs=" + options.accelerator_devargs->substr(0, 200);
    }
    if (options.representor) {
        return "vdpa-representor=" + options.representor->substr(0, 200);
    }
    return row.type == "dpdk" ? "type=dpdk" : "";
}

struct NamedMac {
    std::string key;
    std::string mac;
};

/* MAC addresses that the row gives, those that count most first. */
std::vector<NamedMac> macs_of(const ovs::InterfaceRow &row, const InterfaceOptions &options,
                              std::vector<Error> &errors) {
    std::vector<NamedMac> macs;
    if (options.vf_mac) {
        macs.push_back({"vdpa-vf-mac", *options.vf_mac});
    }
    const auto read = [&](const char *column, const schema::StringMap &map, const char *key) {
        const auto text = value_of(map, key);
        if (!text) {
            return;
        }
        const std::string name = std::string(column) + ":" + key;
        if (auto mac = schema::read_mac(*text)) {
            macs.push_back({name, std::move(*mac)});
        } else {
            errors.push_back({Reason::bad_mac,
                              name + "=" + std::string(text->substr(0, 200)) + ": " + mac.error()});
        }
    };
    read("options", row.options, "dpdk-vf-mac");
    read("external_ids", row.external_ids, "attached-mac");
    return macs;
}

void read_mac(const ovs::InterfaceRow &row, const InterfaceOptions &options, PortConfig &config,
              std::vector<Error> &errors) {
    const std::vector<NamedMac> macs = macs_of(row, options, errors);
    if (macs.empty()) {
        return;
    }
    const NamedMac &first = macs.front();
    for (const NamedMac &other : macs) {
        if (other.mac != first.mac) {
            errors.push_back({Reason::bad_mac, first.key + "=" + first.mac + " and " + other.key +
                                                   "=" + other.mac + " differ: remove one"});
            return;
        }
    }
    config.mac = first.mac;
    // netdev-dpdk gives it to the VF behind a representor (lib/netdev-dpdk.c).
    config.switch_sets_mac = row.type == "dpdk" && value_of(row.options, "dpdk-vf-mac").has_value();
}

/* As IPv4 needs (RFC 791) and as the config space of virtio-net can tell. What the netdev has says
 * more than what was asked for; but before ovs-vswitchd has opened it, that is all there is, and a
 * kernel vDPA device gets its MTU when it is made. */
std::optional<uint16_t> mtu_of(const ovs::InterfaceRow &row) {
    constexpr int64_t least = 68;
    constexpr int64_t most = 65'535;
    const std::optional<int64_t> mtu = row.mtu ? row.mtu : row.mtu_request;
    if (!mtu || *mtu < least || *mtu > most) {
        return std::nullopt;
    }
    return static_cast<uint16_t>(*mtu);
}

}  // namespace

void read_device(const ovs::InterfaceRow &row, const InterfaceOptions &options, PortConfig &config,
                 std::vector<Error> &errors) {
    const std::string named = named_device(row, options);
    if (options.sw && named.empty()) {
        config.engine.device = {schema::DeviceKind::tap, row.name};
        return;
    }
    if (options.sw) {
        errors.push_back({Reason::device_unsupported,
                          "vdpa-sw=true and " + named +
                              ": the software datapath on a device is not served in this release; "
                              "remove vdpa-sw for the device to serve the queues itself, or the "
                              "device for an emulated VF"});
        return;
    }
    host::DeviceKeys keys;
    keys.is_dpdk_port = row.type == "dpdk";
    if (options.accelerator_devargs) {
        keys.accelerator = *options.accelerator_devargs;
    }
    if (options.representor) {
        keys.representor = *options.representor;
    }
    keys.dpdk_devargs = value_of(row.options, "dpdk-devargs");
    auto request = host::parse_device_request(keys);
    if (!request) {
        errors.push_back(request.error());
        return;
    }
    config.device = std::move(*request);
    config.mtu = mtu_of(row);
    read_mac(row, options, config, errors);
}

}  // namespace vdpa::agent::config
