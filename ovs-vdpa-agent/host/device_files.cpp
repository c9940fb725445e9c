// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/device_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "ovs-vdpa-agent/host/folders.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

int write_file(const std::string &path, const std::string &text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    if (!fd) {
        return errno;
    }
    // In one write, or the kernel would take it for several values.
    return ::write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

}  // namespace

DeviceFiles::DeviceFiles(const std::string &root, Handle device)
    : bus_(root + "/bus/" + device.bus),
      path_(bus_ + "/devices/" + device.device),
      device_(std::move(device)) {}

bool DeviceFiles::exists() const {
    return ::access(path_.c_str(), F_OK) == 0;
}

std::string DeviceFiles::driver() const {
    return link_name(path_ + "/driver").value_or("");
}

std::string DeviceFiles::driver_override() const {
    const std::string text = read("driver_override").value_or("");
    return text == "(null)" ? "" : text;
}

bool DeviceFiles::has_driver_of_bus(const std::string &name) const {
    return ::access((bus_ + "/drivers/" + name).c_str(), F_OK) == 0;
}

std::optional<std::string> DeviceFiles::read(const std::string &attribute) const {
    const UniqueFd fd(::open((path_ + "/" + attribute).c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> buffer{};
    const ssize_t size = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : -1;
    if (size < 0) {
        return std::nullopt;
    }
    std::string text(buffer.data(), static_cast<size_t>(size));
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text;
}

std::vector<std::string> DeviceFiles::entries(const char *prefix) const {
    return host::entries(path_, prefix);
}

std::vector<Handle> DeviceFiles::vfs() const {
    std::vector<Handle> devices;
    for (const std::string &name : entries("virtfn")) {
        if (auto device = link_name(path_ + "/" + name)) {
            devices.push_back({device_.bus, std::move(*device)});
        }
    }
    return devices;
}

int DeviceFiles::write(const std::string &attribute, const std::string &value) const {
    return write_file(path_ + "/" + attribute, value);
}

int DeviceFiles::bind(const std::string &driver) const {
    return write_file(bus_ + "/drivers/" + driver + "/bind", device_.device);
}

int DeviceFiles::unbind(const std::string &driver) const {
    return write_file(bus_ + "/drivers/" + driver + "/unbind", device_.device);
}

}  // namespace vdpa::agent::host
