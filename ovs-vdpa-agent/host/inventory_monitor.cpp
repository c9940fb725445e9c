// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/inventory_monitor.hpp"

#include <algorithm>

#include "ovs-vdpa-agent/host/inventory_builder.hpp"
#include "ovs-vdpa-agent/host/processor_time.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

const log::Module module("inventory");
log::RateLimit limit;

/* Between two updates, in units of the time that the last took. */
constexpr int pause_factor = 4;
/* A module tells of itself before it has made its devices. */
constexpr std::chrono::milliseconds module_start{500};

/* Whether rtnetlink says of which device a netdev is. */
bool tells_parents(const Links &links) {
    for (const auto &[ifindex, link] : links.by_index) {
        if (!link.parent_device.empty()) {
            return true;
        }
    }
    return false;
}

}  // namespace

InventoryMonitor::InventoryMonitor(boost::asio::io_context &io, LinkMonitor &links,
                                   Settings settings, Listener listener)
    : links_(links),
      settings_(std::move(settings)),
      listener_(std::move(listener)),
      reads_(io),
      devlink_(
          io, reads_, [this] { changed(); }, settings_.retry),
      uevents_(io, [this](const auto &event) { on_uevent(event); }),
      listening_(
          io, module, "uevents, which tell of devices that come and go, cannot be listened to",
          [this] {
              listen_to_uevents();
              on_uevent(std::nullopt);
          },
          [this] { changed(); }, settings_.retry),
      listing_vdpa_(
          io, module, "vDPA devices cannot be listed", [this] { read_vdpa(); },
          [this] { changed(); }, settings_.retry),
      update_(io),
      patience_(io),
      module_(io) {}

void InventoryMonitor::start() {
    links_.on_device_change([this] { changed(); });
    listen_to_uevents();
    devlink_.start(settings_.devlink_buffer);
    read_sysfs();
    read_vdpa();
    patience_.expires_after(settings_.patience);
    patience_.async_wait([this](const boost::system::error_code &error) {
        if (!error && !inventory_) {
            std::string names;
            for (const std::string &name : missing()) {
                names += (names.empty() ? "" : ", ") + name;
            }
            module.info(limit, "begins without what does not answer: " + names);
            is_impatient_ = true;
            update();
        }
    });
}

void InventoryMonitor::listen_to_uevents() {
    if (const auto listening = uevents_.start(); listening) {
        listening_.succeeded();
    } else {
        listening_.failed(listening.error().detail);
    }
}

void InventoryMonitor::on_uevent(const std::optional<Uevent> &event) {
    if (event && event->subsystem == "net" && event->is_virtual()) {
        return;  // no device's netdev: each TAP that is made, renamed or deleted is told of
    }
    const auto is_of = [&event](const char *subsystem) {
        return !event || event->subsystem == subsystem;
    };
    const bool is_wanted = std::ranges::any_of(
        wanted_, [&is_of](const Handle &device) { return is_of(device.bus.c_str()); });
    if (is_of("pci") || is_of("auxiliary") || is_wanted ||
        (is_of("net") && !tells_parents(links_.links()))) {
        read_sysfs();
    }
    // Drivers of PCI functions and SFs make management devices, of which nothing tells.
    const bool may_manage = (is_of("pci") || is_of("auxiliary")) &&
                            (!event || event->action == "bind" || event->action == "unbind");
    if (is_of("vdpa") || (may_manage && vdpa_.has_family)) {
        read_vdpa();
    }
    if (is_of("module")) {
        module_.expires_after(module_start);
        module_.async_wait([this](const boost::system::error_code &error) {
            if (!error) {
                read_vdpa();
            }
        });
    }
}

void InventoryMonitor::read_sysfs(std::function<void()> done) {
    reads_.run(
        "sysfs",
        [this, root = settings_.sysfs_root, wanted = wanted_,
         with_netdevs = !tells_parents(links_.links())] {
            auto snapshot =
                std::make_shared<SysfsSnapshot>(host::read_sysfs(root, wanted, with_netdevs));
            return [this, snapshot, wanted] {
                has_sysfs_ = wanted == wanted_;
                sysfs_ = std::move(*snapshot);
                changed();
            };
        },
        std::move(done));
}

void InventoryMonitor::read_vdpa(std::function<void()> done) {
    reads_.run(
        "vdpa",
        [this, root = settings_.sysfs_root] {
            auto state = std::make_shared<NetResult<VdpaState>>(host::read_vdpa(root));
            return [this, state] {
                has_vdpa_ = true;
                if (*state) {
                    vdpa_ = std::move(**state);
                    listing_vdpa_.succeeded();
                } else {
                    listing_vdpa_.failed(state->error().detail);
                }
                changed();
            };
        },
        std::move(done));
}

/* SFs and VFs have devlink devices, too, and may be many; and until their drivers are ready they
 * cannot be asked. */
bool InventoryMonitor::has_eswitch(const Handle &device) const {
    const auto known = sysfs_.devices.find(device);
    if (device.bus == "pci") {
        return known != sysfs_.devices.end() && !known->second.pf;
    }
    return device.bus != "auxiliary";
}

void InventoryMonitor::read_eswitches() {
    const auto &devices = devlink_.state().devices;
    stirred_.merge(devlink_.take_stirred());
    if (!has_sysfs_) {
        return;
    }
    bool has_other_bus = false;
    for (const Handle &device : std::exchange(stirred_, {})) {
        if (!devices.contains(device)) {
            continue;
        }
        if (has_eswitch(device)) {
            devlink_.read_eswitch(device);
        } else if (device.bus == "pci" && !sysfs_.devices.contains(device)) {
            stirred_.insert(device);  // sysfs will say what it is
        }
        has_other_bus = has_other_bus || wanted_.contains(device);
    }
    if (has_other_bus) {
        read_sysfs();  // no uevent tells how many VFs it has
    }
}

std::vector<std::string> InventoryMonitor::missing() const {
    std::vector<std::string> names;
    const auto need = [&names](bool is_there, const char *name) {
        if (!is_there) {
            names.emplace_back(name);
        }
    };
    need(links_.is_ready(), "rtnetlink");
    need(devlink_.is_ready(), "devlink");
    need(has_sysfs_, "sysfs");
    need(has_vdpa_, "vdpa");
    for (const auto &[device, eswitch] : devlink_.state().devices) {
        const bool was_asked = eswitch || devlink_.state().eswitch_errors.contains(device);
        if (!was_asked && has_eswitch(device)) {
            names.push_back("the eswitch of " + device.text());
        }
    }
    return names;
}

void InventoryMonitor::changed() {
    if (is_update_due_) {
        return;
    }
    is_update_due_ = true;
    update_.expires_after(pause_factor * update_cost_);
    update_.async_wait([this](const boost::system::error_code &error) {
        if (!error) {
            update();
        }
    });
}

void InventoryMonitor::update() {
    const auto begin = processor_time();
    is_update_due_ = false;
    update_.cancel();
    read_eswitches();
    std::set<Handle> wanted;
    for (const auto &[device, eswitch] : devlink_.state().devices) {
        if (device.bus != "pci" && device.bus != "auxiliary") {
            wanted.insert(device);
        }
    }
    if (wanted != wanted_) {
        wanted_ = std::move(wanted);
        has_sysfs_ = false;
        read_sysfs();
    }
    if (!inventory_ && !is_impatient_ && !missing().empty()) {
        return;
    }
    auto inventory = std::make_shared<Inventory>(
        build_inventory(devlink_.state(), links_.links(), sysfs_, vdpa_));
    inventory->problems = problems();
    watch_vf_macs(*inventory);
    update_cost_ = processor_time() - begin;
    if (!inventory_ || *inventory_ != *inventory) {
        inventory_ = std::move(inventory);
        listener_(inventory_);
    }
}

std::vector<std::string> InventoryMonitor::problems() const {
    std::vector<std::string> all = links_.problems();
    for (const std::string &problem :
         {devlink_.problem(), listening_.problem(), listing_vdpa_.problem()}) {
        if (!problem.empty()) {
            all.push_back(problem);
        }
    }
    return all;
}

/* Where devlink does not have the MAC addresses of VFs, the PF's netdev does. */
void InventoryMonitor::watch_vf_macs(const Inventory &inventory) {
    std::set<int> ifindexes;
    for (const Pf &pf : inventory.pfs) {
        for (const Function &function : pf.functions) {
            const bool is_told = function.representor && function.representor->has_function_mac;
            if (function.id.flavour == Flavour::vf && !function.id.controller && !is_told) {
                for (const Pf::Uplink &uplink : pf.uplinks) {
                    ifindexes.insert(uplink.ifindex);
                }
                break;
            }
        }
    }
    links_.watch_vf_macs(ifindexes);
}

void InventoryMonitor::refresh(const Handle &device, std::function<void()> done) {
    const auto pending = std::make_shared<int>(1);
    const auto one_done = [this, pending, done = std::move(done)] {
        if (--*pending == 0) {
            update();
            if (done) {
                done();
            }
        }
    };
    if (devlink_.state().devices.contains(device) && has_eswitch(device)) {
        ++*pending;
        devlink_.read_eswitch(device, one_done);
    }
    links_.refresh_vf_macs();
    read_sysfs(one_done);
}

void InventoryMonitor::refresh_vdpa(std::function<void()> done) {
    read_vdpa([this, done = std::move(done)] {
        update();
        if (done) {
            done();
        }
    });
}

}  // namespace vdpa::agent::host
