// SPDX-License-Identifier: Apache-2.0
// What one port at a time may have, and what an engine's device is on this host.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/plan.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::DeviceKind;

constexpr const char *socket_word = "socket ";
constexpr const char *function_word = "function ";
constexpr const char *device_word = "device ";
constexpr const char *vdpa_word = "vdpa ";

/* The device that DPDK was given, without its arguments. */
std::optional<host::Handle> handle_of(const schema::DeviceSpec &device) {
    if (device.kind != DeviceKind::dpdk) {
        return std::nullopt;
    }
    const auto parsed = host::parse_accelerator(device.name);
    const auto *dpdk = parsed ? std::get_if<host::DpdkDevice>(&*parsed) : nullptr;
    return dpdk ? std::optional(dpdk->device) : std::nullopt;
}

}  // namespace

std::string socket_thing(const std::string &path) {
    return socket_word + path;
}

std::string function_thing(const std::string &function) {
    return function_word + function;
}

std::string device_thing(const schema::DeviceSpec &device) {
    if (device.kind == DeviceKind::kernel) {
        return vdpa_word + device.name;
    }
    const auto handle = handle_of(device);
    return handle ? device_word + handle->text() : "";
}

bool is_socket(const std::string &thing) {
    return thing.starts_with(socket_word);
}

std::string describe(const std::string &thing) {
    const std::string name = thing.substr(thing.find(' ') + 1);
    if (is_socket(thing)) {
        return "vdpa-socket=" + name;
    }
    if (thing.starts_with(function_word)) {
        return "VF or SF " + name;
    }
    return (thing.starts_with(vdpa_word) ? "vDPA device " : "device ") + name;
}

std::set<std::string> wanted_things(const config::PortConfig &config, const Plan *plan) {
    std::set<std::string> things{socket_thing(config.engine.socket.path)};
    if (!config.device) {
        return things;
    }
    // Two rows that name a thing which is not there in the same words want the same.
    const host::DeviceRequest &request = *config.device;
    if (const auto *dpdk = std::get_if<host::DpdkDevice>(&request.device)) {
        things.insert(device_word + dpdk->device.text());
    }
    if (plan) {
        things.insert(function_thing(plan->function.text()));
        if (plan->function_device) {
            things.insert(device_word + plan->function_device->text());
        }
        if (plan->device && plan->device->kind == DeviceKind::kernel) {
            things.insert(device_thing(*plan->device));
        }
        return things;
    }
    if (request.representor) {
        things.insert(function_thing(request.representor->text()));
    }
    // A name may be that of a management device, of which each row has a device made for itself.
    if (const auto *kernel = std::get_if<host::KernelDevice>(&request.device);
        kernel && !kernel->path.empty()) {
        things.insert(vdpa_word + kernel->path);
    }
    return things;
}

bool is_there(const host::Inventory &inventory, const schema::DeviceSpec &device) {
    if (device.kind == DeviceKind::kernel) {
        return std::any_of(inventory.vdpa_devices.begin(), inventory.vdpa_devices.end(),
                           [&device](const auto &each) { return each.path == device.name; });
    }
    // A TAP is looked after in another way.
    return device.kind == DeviceKind::tap || function_of(inventory, device) != nullptr;
}

const host::Function *function_of(const host::Inventory &inventory,
                                  const schema::DeviceSpec &device) {
    const auto handle = handle_of(device);
    return handle ? inventory.function_with_device(*handle) : nullptr;
}

FunctionsByDevice functions_by_device(const host::Inventory &inventory) {
    FunctionsByDevice functions;
    for (const host::Pf &pf : inventory.pfs) {
        for (const host::Function &function : pf.functions) {
            if (function.device) {
                functions.emplace(*function.device, &function);
            }
        }
    }
    return functions;
}

const host::Function *function_of(const FunctionsByDevice &functions,
                                  const schema::DeviceSpec &device) {
    const auto handle = handle_of(device);
    const auto found = handle ? functions.find(*handle) : functions.end();
    return found == functions.end() ? nullptr : found->second;
}

bool may_ask_for(const std::optional<host::DeviceRequest> &request,
                 const schema::DeviceSpec &device) {
    if (!request) {
        return device.kind == DeviceKind::tap;
    }
    if (const auto *dpdk = std::get_if<host::DpdkDevice>(&request->device)) {
        return handle_of(device) == dpdk->device;
    }
    if (const auto *kernel = std::get_if<host::KernelDevice>(&request->device)) {
        // Which path belongs to a name is not known while there is no device of that name.
        return device.kind == DeviceKind::kernel &&
               (kernel->path.empty() || kernel->path == device.name);
    }
    return std::holds_alternative<host::ManagedDevice>(request->device)
               ? device.kind == DeviceKind::kernel
               : device.kind == DeviceKind::dpdk;
}

}  // namespace vdpa::agent::reconcile
