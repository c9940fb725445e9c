// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::report {

void Board::set_port(PortView view) {
    auto shared = std::make_shared<const PortView>(std::move(view));
    const std::lock_guard lock(mutex_);
    ports_[shared->name] = shared;
}

void Board::erase_port(const std::string &name) {
    const std::lock_guard lock(mutex_);
    ports_.erase(name);
}

void Board::set_host(HostView view) {
    const std::lock_guard lock(mutex_);
    host_ = std::move(view);
}

void Board::set_inventory(std::shared_ptr<const host::Inventory> inventory) {
    const std::lock_guard lock(mutex_);
    inventory_.swap(inventory);  // what it replaces is destroyed after the lock
}

std::shared_ptr<const host::Inventory> Board::inventory() const {
    const std::lock_guard lock(mutex_);
    return inventory_;
}

Board::Ports Board::ports() const {
    const std::lock_guard lock(mutex_);
    return ports_;
}

std::shared_ptr<const PortView> Board::port(const std::string &name) const {
    const std::lock_guard lock(mutex_);
    const auto found = ports_.find(name);
    return found == ports_.end() ? nullptr : found->second;
}

HostView Board::host() const {
    const std::lock_guard lock(mutex_);
    return host_;
}

}  // namespace vdpa::agent::report
