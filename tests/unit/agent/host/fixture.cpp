// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/fixture.hpp"

#include <gtest/gtest.h>
#include <linux/devlink.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/unit/agent/host/message.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/* A member that may be missing. */
const json &member(const json &object, const char *key) {
    static const json none = json::object();
    return object.contains(key) ? object.at(key) : none;
}

Handle handle_of(const std::string &text) {
    const size_t slash = text.find('/');
    return {text.substr(0, slash), text.substr(slash + 1)};
}

std::string bytes_of(const std::string &hex) {
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += hex[2] == ':' ? 3 : 2) {
        bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    return bytes;
}

void write(const fs::path &path, const std::string &text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
}

void link(const fs::path &path, const fs::path &target) {
    fs::create_directories(path.parent_path());
    fs::create_symlink(target, path);
}

Message devlink_message(uint8_t command, const Handle &device) {
    return Message::generic(command)
        .text(DEVLINK_ATTR_BUS_NAME, device.bus)
        .text(DEVLINK_ATTR_DEV_NAME, device.device);
}

Message port_message(const Handle &device, const json &port) {
    static const std::map<std::string, uint16_t> flavours{
        {"physical", DEVLINK_PORT_FLAVOUR_PHYSICAL}, {"pcipf", DEVLINK_PORT_FLAVOUR_PCI_PF},
        {"pcivf", DEVLINK_PORT_FLAVOUR_PCI_VF},      {"pcisf", DEVLINK_PORT_FLAVOUR_PCI_SF},
        {"virtual", DEVLINK_PORT_FLAVOUR_VIRTUAL},
    };
    Message message = devlink_message(DEVLINK_CMD_PORT_NEW, device)
                          .number<uint32_t>(DEVLINK_ATTR_PORT_INDEX, port.at("index"))
                          .number<uint16_t>(DEVLINK_ATTR_PORT_TYPE, DEVLINK_PORT_TYPE_ETH);
    const auto add = [&message, &port](const char *key, int type, auto value) {
        if (port.contains(key)) {
            value = port.at(key);
            message.number(type, value);
        }
    };
    if (port.contains("flavour")) {
        message.number(DEVLINK_ATTR_PORT_FLAVOUR,
                       flavours.at(port.at("flavour").get<std::string>()));
    }
    add("netdev", DEVLINK_ATTR_PORT_NETDEV_IFINDEX, uint32_t{});
    add("controller", DEVLINK_ATTR_PORT_CONTROLLER_NUMBER, uint32_t{});
    add("external", DEVLINK_ATTR_PORT_EXTERNAL, uint8_t{});
    add("pfnum", DEVLINK_ATTR_PORT_PCI_PF_NUMBER, uint16_t{});
    add("vfnum", DEVLINK_ATTR_PORT_PCI_VF_NUMBER, uint16_t{});
    add("sfnum", DEVLINK_ATTR_PORT_PCI_SF_NUMBER, uint32_t{});
    if (port.contains("hw_addr") || port.contains("state")) {
        message.nested(DEVLINK_ATTR_PORT_FUNCTION, [&](Message &function) {
            if (port.contains("hw_addr")) {
                function.bytes(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, bytes_of(port.at("hw_addr")));
            }
            if (port.contains("state")) {
                function.number<uint8_t>(DEVLINK_PORT_FN_ATTR_STATE,
                                         port.at("state") == "active" ? 1 : 0);
            }
        });
    }
    return message;
}

void read_devlink(const json &description, DevlinkState &state) {
    for (const auto &[name, device] : description.items()) {
        const Handle handle = handle_of(name);
        const auto take = [&state](const Message &message) {
            const auto parsed = parse_devlink(message.get());
            ASSERT_TRUE(parsed);
            apply(*parsed, state);
        };
        take(devlink_message(DEVLINK_CMD_NEW, handle));
        for (const json &port : member(device, "ports")) {
            take(port_message(handle, port));
        }
        const std::string eswitch = device.value("eswitch", "not asked");
        auto answer = devlink_message(DEVLINK_CMD_ESWITCH_GET, handle);
        if (eswitch == "switchdev" || eswitch == "legacy") {
            answer = std::move(answer).number<uint16_t>(
                DEVLINK_ATTR_ESWITCH_MODE, eswitch == "switchdev" ? DEVLINK_ESWITCH_MODE_SWITCHDEV
                                                                  : DEVLINK_ESWITCH_MODE_LEGACY);
        }
        if (eswitch != "not asked") {
            take(answer);
        }
    }
}

void read_link(const json &description, Links &links) {
    ifinfomsg header{};
    header.ifi_index = description.at("index");
    header.ifi_flags = description.value("up", false) ? IFF_UP : 0;
    Message message = Message(RTM_NEWLINK, header).text(IFLA_IFNAME, description.at("name"));
    if (description.contains("port")) {
        message.text(IFLA_PHYS_PORT_NAME, description.at("port"));
    }
    if (description.contains("switch")) {
        message.bytes(IFLA_PHYS_SWITCH_ID, bytes_of(description.at("switch")));
    }
    if (description.contains("master")) {
        message.number<uint32_t>(IFLA_MASTER, description.at("master"));
    }
    if (description.contains("parent")) {
        const Handle parent = handle_of(description.at("parent"));
        message = std::move(message)
                      .text(IFLA_PARENT_DEV_BUS_NAME, parent.bus)
                      .text(IFLA_PARENT_DEV_NAME, parent.device);
    }
    const auto link = parse_link(message.get());
    ASSERT_TRUE(link);
    links.by_index[link->ifindex] = *link;
    if (description.value("address", false)) {
        links.addresses.insert({link->ifindex, 2, 24, "\x0a\x01\x01\x01"});
    }
    const json &vf_macs = member(description, "vf_macs");
    for (uint32_t vf = 0; vf < vf_macs.size(); vf++) {
        links.vf_macs[link->ifindex][vf] = vf_macs[vf];
    }
}

void read_vdpa(const json &description, VdpaState &state) {
    state.has_family = !description.empty();
    state.has_vhost_driver = state.has_family;
    for (const json &item : member(description, "managements")) {
        state.managements.push_back({item.at("name"), true, item.value("vqs", 65U)});
    }
    for (const json &item : member(description, "devices")) {
        state.devices.push_back(
            {item.at("name"), item.at("management"),
             item.contains("path") ? std::optional(item.at("path").get<std::string>())
                                   : std::nullopt,
             item.value("mac", ""), std::nullopt, std::nullopt, item.value("vqs", 3U)});
    }
}

}  // namespace

void make_sysfs(const json &description, const std::string &root) {
    const fs::path pci = fs::path(root) / "devices/pci0000:40";
    const fs::path buses = fs::path(root) / "bus";
    const auto common = [&buses](const fs::path &path, const std::string &bus, const json &device) {
        fs::create_directories(path);
        link(buses / bus / "devices" / path.filename(), path);
        link(path / "subsystem", buses / bus);
        if (device.contains("driver")) {
            link(path / "driver", buses / bus / "drivers" / device.at("driver"));
        }
        for (const auto &[netdev, ifindex] : member(device, "net").items()) {
            write(path / "net" / netdev / "ifindex", std::to_string(ifindex.get<int>()));
        }
        for (const auto &[name, text] : member(device, "files").items()) {
            write(path / name, text);
        }
    };
    for (const auto &[name, device] : member(description, "pci").items()) {
        common(pci / name, "pci", device);
        write(pci / name / "class", device.value("class", "0x020000"));
        if (device.contains("pf")) {
            link(pci / name / "physfn", fs::path("..") / device.at("pf").get<std::string>());
        }
        int number = 0;
        for (const std::string vf : member(device, "vfs")) {
            link(pci / name / ("virtfn" + std::to_string(number++)), fs::path("..") / vf);
        }
    }
    for (const auto &[name, device] : member(description, "auxiliary").items()) {
        const Handle parent = handle_of(device.at("parent"));
        common(pci / parent.device / name, "auxiliary", device);
    }
    for (const auto &[name, device] : member(description, "other").items()) {
        const Handle handle = handle_of(name);
        common(fs::path(root) / "devices" / handle.device, handle.bus, device);
    }
}

Fixture::Fixture(const std::string &name) {
    std::ifstream file(std::string(OVDA_FIXTURES) + "/" + name);
    description = json::parse(file);
    read_devlink(member(description, "devlink"), devlink);
    for (const json &link : member(description, "links")) {
        read_link(link, links);
    }
    read_vdpa(member(description, "vdpa"), vdpa);

    const Folder folder;
    make_sysfs(member(description, "sysfs"), folder.path("sys"));
    std::set<Handle> wanted;
    for (const auto &[handle, eswitch] : devlink.devices) {
        if (handle.bus != "pci" && handle.bus != "auxiliary") {
            wanted.insert(handle);
        }
    }
    sysfs = read_sysfs(folder.path("sys"), wanted, description.value("netdevs_by_sysfs", false));
}

std::vector<std::string> fixture_names() {
    std::vector<std::string> names;
    for (const auto &entry : fs::directory_iterator(OVDA_FIXTURES)) {
        names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace vdpa::agent::host
