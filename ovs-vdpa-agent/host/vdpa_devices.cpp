// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_devices.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "ovs-vdpa-agent/host/device_files.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

const log::Module module("vdpa");

constexpr const char *vhost_driver = "vhost_vdpa";
/* VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX (linux/virtio_net.h), both directions, and the control queue. */
constexpr uint32_t most_queues = 2 * 0x8000 + 1;

tl::unexpected<Error> vdpa_failed(const std::string &name, const std::string &what,
                                  const NetlinkError &error) {
    if (error.code == EPROTONOSUPPORT) {
        return fail(Reason::kernel_lacks, "vDPA device " + name + " " + what + ": " + error.detail);
    }
    return fail(Reason::vdpa_failed, "vDPA device " + name + " " + what + ": " + error.detail);
}

tl::unexpected<Error> taken(const std::string &name) {
    return fail(Reason::name_taken, "a vDPA device named " + name +
                                        " exists that this agent did not make: delete it, or give "
                                        "the Interface another name");
}

OwnedVdpa entry_of(const VdpaSpec &spec) {
    return {spec.management, spec.mac, spec.mtu, spec.max_pairs};
}

/* A setting of a device, and the spec without it. */
struct Setting {
    const char *what;
    bool (*is_asked_for)(const VdpaSpec &spec);
    void (*leave_out)(VdpaSpec &spec);
};
/* What is missed least comes first. */
constexpr std::array<Setting, 3> settings = {
    {{"number of queue pairs", [](const VdpaSpec &spec) { return spec.max_pairs > 1; },
      [](VdpaSpec &spec) { spec.max_pairs = 1; }},
     {"MTU", [](const VdpaSpec &spec) { return spec.mtu.has_value(); },
      [](VdpaSpec &spec) { spec.mtu.reset(); }},
     {"MAC address", [](const VdpaSpec &spec) { return !spec.mac.empty(); },
      [](VdpaSpec &spec) { spec.mac.clear(); }}}};

}  // namespace

VdpaDevices::VdpaDevices(std::unique_ptr<VdpaKernel> kernel, OwnedFile record, std::string sysfs)
    : kernel_(std::move(kernel)), record_(std::move(record)), sysfs_(std::move(sysfs)) {}

Expected<std::vector<std::string>> VdpaDevices::owned() {
    if (auto loaded = record_.load(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    std::vector<std::string> names;
    for (const auto &[name, entry] : record_.get().vdpa) {
        names.push_back(name);
    }
    return names;
}

Expected<bool> VdpaDevices::has_ours(const std::string &name, bool is_wanted) {
    const auto management = kernel_->management(name);
    if (!management) {
        return vdpa_failed(name, "cannot be looked for", management.error());
    }
    const auto entry = record_.vdpa(name);
    const bool is_ours = *management && entry && entry->management == **management;
    if (is_wanted && *management && !is_ours) {
        return taken(name);
    }
    return is_ours;
}

Expected<VdpaService::Made> VdpaDevices::ensure(const VdpaSpec &spec) {
    if (auto loaded = record_.load_once(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    auto is_there = has_ours(spec.name, true);
    if (!is_there) {
        return tl::make_unexpected(is_there.error());
    }
    VdpaService::Made made;
    if (*is_there && record_.vdpa(spec.name) != entry_of(spec)) {
        const auto removed = remove(spec.name);
        if (!removed && removed.error().reason != Reason::device_busy) {
            return tl::make_unexpected(removed.error());
        }
        *is_there = !removed;
        if (!removed) {
            made.notes.push_back("vDPA device " + spec.name +
                                 " is in use with the settings that it had before");
        }
    }
    if (!*is_there) {
        auto notes = add(spec);
        if (!notes) {
            return tl::make_unexpected(notes.error());
        }
        made.notes = std::move(*notes);
    }
    auto path = bound_path(spec.name);
    if (!path) {
        return tl::make_unexpected(path.error());
    }
    made.path = std::move(*path);
    return made;
}

/* What it cannot set is left out, as little as possible. */
Expected<std::vector<std::string>> VdpaDevices::add(const VdpaSpec &spec) {
    auto recorded =
        record_.change([&spec](Owned &owned) { owned.vdpa[spec.name] = entry_of(spec); });
    if (!recorded) {
        return tl::make_unexpected(recorded.error());
    }
    std::array<unsigned, 1U << settings.size()> subsets{};
    for (unsigned i = 0; i < subsets.size(); i++) {
        subsets[i] = i;
    }
    std::stable_sort(subsets.begin(), subsets.end(), [](unsigned a, unsigned b) {
        return __builtin_popcount(a) < __builtin_popcount(b);
    });
    NetResult<void> done;
    for (const unsigned left_out : subsets) {
        VdpaSpec tried = spec;
        std::vector<std::string> notes;
        bool is_new = true;
        for (size_t i = 0; i < settings.size(); i++) {
            if ((left_out >> i & 1U) != 0) {
                is_new = is_new && settings[i].is_asked_for(spec);
                settings[i].leave_out(tried);
                notes.push_back("vDPA management device " + spec.management + " cannot set the " +
                                settings[i].what);
            }
        }
        if (!is_new) {
            continue;
        }
        done = kernel_->add(tried);
        if (done) {
            module.info("vDPA device " + spec.name + " made of " + spec.management);
            return notes;
        }
        if (done.error().code != EOPNOTSUPP) {
            break;
        }
    }
    // Or a device that somebody makes later would be taken for ours.
    (void)record_.change([&spec](Owned &owned) { owned.vdpa.erase(spec.name); });
    if (done.error().code == EEXIST) {
        return taken(spec.name);
    }
    if (done.error().is_gone()) {
        return fail(Reason::device_missing, "there is no vDPA management device " +
                                                spec.management +
                                                ": see what `vdpa mgmtdev show` lists");
    }
    return vdpa_failed(spec.name, "cannot be made of " + spec.management, done.error());
}

std::string VdpaDevices::path(const std::string &name) const {
    const auto entries = DeviceFiles(sysfs_, {"vdpa", name}).entries("vhost-vdpa-");
    return entries.empty() ? "" : "/dev/" + entries.front();
}

Expected<std::string> VdpaDevices::bound_path(const std::string &name) {
    std::string found = path(name);
    if (!found.empty()) {
        return found;
    }
    const DeviceFiles files(sysfs_, {"vdpa", name});
    if (!files.has_driver_of_bus(vhost_driver)) {
        return fail(Reason::kernel_lacks, "vDPA device " + name +
                                              " has no character device, because module "
                                              "vhost_vdpa is not loaded: modprobe vhost_vdpa");
    }
    if (const std::string driver = files.driver(); !driver.empty()) {
        (void)files.unbind(driver);  // or the binding says why not
    }
    const int error = files.bind(vhost_driver);
    found = path(name);
    if (found.empty()) {
        return fail(Reason::vdpa_failed, "vDPA device " + name +
                                             " cannot be bound to vhost_vdpa: " +
                                             errno_text(error != 0 ? error : ENODEV));
    }
    return found;
}

/* One of which nobody can say whether it is open may be, and the kernel would wait for its user. */
Expected<void> VdpaDevices::check_free(const std::string &name) {
    const std::string device = path(name);
    const auto is_open = device.empty() ? NetResult<bool>(false) : kernel_->is_open(device);
    if (!is_open) {
        return fail(Reason::device_busy, "vDPA device " + name + " (" + device +
                                             ") may be in use: it cannot be opened to see (" +
                                             is_open.error().detail +
                                             "); let the agent's unit have it, by "
                                             "DeviceAllow=char-vhost-vdpa rw");
    }
    return *is_open ? fail(Reason::device_busy,
                           "vDPA device " + name + " (" + device + ") is still open")
                    : Expected<void>();
}

Expected<void> VdpaDevices::remove(const std::string &name) {
    if (auto loaded = record_.load_once(); !loaded) {
        return loaded;
    }
    if (!record_.vdpa(name)) {
        return {};
    }
    const auto is_there = has_ours(name, false);
    if (!is_there && is_there.error().reason != Reason::kernel_lacks) {
        return tl::make_unexpected(is_there.error());
    }
    if (is_there && *is_there) {
        if (auto free = check_free(name); !free) {
            return free;
        }
        const auto removed = kernel_->remove(name);
        if (!removed && !removed.error().is_gone()) {
            return vdpa_failed(name, "cannot be removed", removed.error());
        }
        module.info("vDPA device " + name + " removed");
    }
    return record_.change([&name](Owned &owned) { owned.vdpa.erase(name); });
}

Expected<std::map<uint32_t, VdpaCounters>> VdpaDevices::stats(const std::string &name,
                                                              uint32_t queues) {
    std::map<uint32_t, VdpaCounters> all;
    for (uint32_t queue = 0; queue < std::min(queues, most_queues); queue++) {
        auto counters = kernel_->counters(name, queue);
        if (counters) {
            if (!counters->empty()) {
                all[queue] = std::move(*counters);
            }
        } else if (counters.error().is_gone() || counters.error().code == EPROTONOSUPPORT) {
            return vdpa_failed(name, "has no statistics", counters.error());
        } else if (counters.error().code == EOPNOTSUPP || counters.error().code == EAGAIN) {
            break;
        }
    }
    return all;
}

}  // namespace vdpa::agent::host
