// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel_port_device.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include "engine/log.hpp"

namespace vdpa::engine::device {

namespace {

std::string mac_text(const std::array<uint8_t, 6> &mac) {
    std::array<char, 18> text{};
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                  mac[3], mac[4], mac[5]);
    return text.data();
}

}  // namespace

void KernelPortDevice::Listener::announce() {
    std::shared_ptr<Announcer> present;
    {
        const std::lock_guard lock(mutex);
        present = observer;
    }
    if (present) {
        present->announce();
    }
}

Expected<std::unique_ptr<KernelPortDevice>> KernelPortDevice::open(const std::string &path) {
    auto listener = std::make_shared<Listener>();
    auto kernel = kernel::KernelDevice::open(
        path, [listener](const kernel::State &) { listener->announce(); });
    if (!kernel) {
        return tl::make_unexpected(kernel.error());
    }
    auto found = read_capabilities(path, *(*kernel)->handle());
    if (!found) {
        return tl::make_unexpected(found.error());
    }
    VDPA_LOG(info, "vdpa", "%s: opened, %u queue pairs, features %#llx", path.c_str(),
             found->queue_pairs, static_cast<unsigned long long>((*kernel)->info().features));
    return std::unique_ptr<KernelPortDevice>(
        new KernelPortDevice(path, std::move(*kernel), std::move(listener), *found));
}

KernelPortDevice::KernelPortDevice(const std::string &path,
                                   std::unique_ptr<kernel::KernelDevice> kernel,
                                   std::shared_ptr<Listener> listener, const Capabilities &found)
    : Device(path, *kernel->handle(), found),
      listener_(std::move(listener)),
      kernel_(std::move(kernel)) {}

KernelPortDevice::~KernelPortDevice() {
    release();
}

Expected<void> KernelPortDevice::check() {
    const kernel::State state = kernel_->state();
    if (state.phase != kernel::Phase::gone) {
        return {};
    }
    return tl::make_unexpected(state.fault.value_or(
        Error{schema::Reason::device_missing, "the kernel vDPA device " + name() + " has gone"}));
}

void KernelPortDevice::begin(std::shared_ptr<Announcer> observer) {
    const std::lock_guard lock(listener_->mutex);
    listener_->observer = std::move(observer);
}

void KernelPortDevice::end() {
    begin(nullptr);
}

void KernelPortDevice::describe(bool served, vhost::DatapathStatus &status, uint32_t &pairs) const {
    const kernel::State state = kernel_->state();
    pairs = state.phase == kernel::Phase::running ? state.queue_pairs : 0;
    status.mac = state.config.mac ? mac_text(*state.config.mac) : "";
    status.mtu = state.config.mtu.value_or(0);
    if (served && !status.fault) {
        status.fault = state.fault;
    }
    if (!status.notice && !kernel_->info().ring_state) {
        status.notice = Error{schema::Reason::no_ring_state,
                              name() +
                                  " cannot tell where its rings stand: after a stop it serves "
                                  "a guest only when its driver begins with fresh rings"};
    }
}

}  // namespace vdpa::engine::device
