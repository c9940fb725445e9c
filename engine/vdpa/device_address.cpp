// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/device_address.hpp"

#include <algorithm>
#include <cctype>
#include <regex>
#include <string_view>

namespace vdpa::engine::device {

namespace {

constexpr std::string_view auxiliary = "auxiliary:";

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/* No name of a device holds anything else; and no more gets to DPDK's parser, or into a path. */
bool plain(std::string_view text) {
    return !text.empty() && text != "." && text != ".." &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) {
               return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == ':';
           });
}

}  // namespace

bool DeviceAddress::has_argument(const std::string &key) const {
    const std::string all = "," + arguments;
    return all.find("," + key + "=") != std::string::npos;
}

Expected<DeviceAddress> parse_device_address(const std::string &text) {
    static const std::regex bdf("([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-1][0-9a-f]\\.[0-7]",
                                std::regex::icase);
    const size_t comma = text.find(',');
    const std::string device = text.substr(0, comma);
    DeviceAddress address;
    address.arguments = comma == std::string::npos ? "" : text.substr(comma + 1);
    std::smatch match;
    if (std::regex_match(device, match, bdf)) {
        address.bus = DeviceAddress::Bus::pci;
        address.name = (match[1].matched ? "" : "0000:") + lower(device);
        address.identifier = address.name;
        return address;
    }
    if (!plain(device)) {
        return fail(schema::Reason::bad_device,
                    "\"" + text +
                        "\" names no device: a PCI address (0000:43:00.2) or "
                        "auxiliary:mlx5_core.sf.4 is wanted, perhaps followed by ,key=value");
    }
    address.identifier = device;
    if (device.starts_with(auxiliary)) {
        address.bus = DeviceAddress::Bus::auxiliary;
        address.name = device.substr(auxiliary.size());
        if (!plain(address.name) || address.name.find(':') != std::string::npos) {
            return fail(schema::Reason::bad_device,
                        "\"" + text + "\" does not name a device of the auxiliary bus");
        }
        return address;
    }
    const size_t colon = device.rfind(':');
    address.name = colon == std::string::npos ? device : device.substr(colon + 1);
    if (address.name.empty()) {
        return fail(schema::Reason::bad_device, "\"" + text + "\" does not name a device");
    }
    return address;
}

}  // namespace vdpa::engine::device
