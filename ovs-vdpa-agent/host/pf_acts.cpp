// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/pf_acts.hpp"

#include <cerrno>
#include <charconv>

#include "ovs-vdpa-agent/host/device_files.hpp"
#include "ovs-vdpa-agent/host/devlink_requests.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

const log::Module module("pf");

tl::unexpected<Error> pf_failed(const Handle &device, const std::string &what) {
    return fail(Reason::pf_failed, device.label() + ": " + what);
}

std::optional<uint32_t> read_count(const DeviceFiles &files) {
    const std::string text = files.read("sriov_numvfs").value_or("");
    uint32_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    return error == std::errc() ? std::optional(count) : std::nullopt;
}

/* What sriov_numvfs_store() of drivers/pci/iov.c means, as far as it is not plain. */
std::string count_error(uint32_t count, int error) {
    const std::string what = "it cannot have " + std::to_string(count) + " VFs: ";
    if (error == ENOENT) {
        return what + "its driver, if it has one, does not make any";
    }
    if (error == ERANGE) {
        return what + "they are more than sriov_totalvfs";
    }
    return what + errno_text(error) + ", of which the kernel's log may say more";
}

Expected<void> set_uplink_up(const PfStep &step) {
    auto rtnl = Rtnl::open();
    const auto done =
        rtnl.and_then([&step](Rtnl &requests) { return requests.set_up(step.ifindex, true); });
    // One that has gone is missed when the host is looked at again.
    return done || done.error().is_gone()
               ? Expected<void>()
               : pf_failed(step.pf, "its netdev cannot be set up: " + done.error().detail);
}

}  // namespace

Expected<void> PfActs::carry_out(const PfStep &step) {
    if (auto loaded = record_.load_once(); !loaded) {
        return loaded;
    }
    switch (step.kind) {
        case PfStep::Kind::set_num_vfs:
            return set_num_vfs(step);
        case PfStep::Kind::unbind_vf:
            return unbind_vf(step);
        case PfStep::Kind::set_switchdev:
            return set_switchdev(step);
        case PfStep::Kind::bind_vf:
            return bind_vf(step);
        case PfStep::Kind::forget_vf:
            // One that has come back is bound again.
            return DeviceFiles(sysfs_, step.vf).exists() ? Expected<void>() : forget_vf(step.vf);
        case PfStep::Kind::set_uplink_up:
            return set_uplink_up(step);
        case PfStep::Kind::end:
            return end(step.pf);
    }
    return {};
}

Expected<void> PfActs::set_num_vfs(const PfStep &step) {
    const DeviceFiles files(sysfs_, step.pf);
    const auto present = read_count(files);
    if (!present) {
        return pf_failed(
            step.pf, files.exists() ? "has no SR-IOV (no sriov_numvfs in sysfs)" : "is not there");
    }
    if (*present == step.num_vfs) {
        return {};
    }
    const auto recorded = record_.change([&](Owned &owned) {
        OwnedPf &pf = owned.pfs[step.pf];
        pf.num_vfs = pf.num_vfs.value_or(*present);
        pf.made_vfs = step.num_vfs == 0 ? std::nullopt : std::optional(step.num_vfs);
    });
    if (!recorded) {
        return recorded;
    }
    module.info(step.pf.label() + ": " + std::to_string(step.num_vfs) + " VFs in place of " +
                std::to_string(*present));
    // The kernel makes no VFs while there are others.
    auto done = *present == 0 ? Expected<void>() : remove_vfs(step.pf);
    if (done && step.num_vfs != 0) {
        if (const int error = files.write("sriov_numvfs", std::to_string(step.num_vfs));
            error != 0) {
            done = pf_failed(step.pf, count_error(step.num_vfs, error));
        }
    }
    // As many VFs that somebody else makes are not ours to take from him.
    if (!done) {
        if (auto ended = end(step.pf); !ended) {
            return ended;
        }
    }
    return done;
}

Expected<void> PfActs::remove_vfs(const Handle &pf) {
    const DeviceFiles files(sysfs_, pf);
    const auto vfs = files.vfs();
    if (const int error = files.write("sriov_numvfs", "0"); error != 0) {
        return pf_failed(pf, count_error(0, error));
    }
    return record_.change([&vfs](Owned &owned) {
        for (const Handle &vf : vfs) {
            owned.unbound.erase(vf);
        }
    });
}

Expected<void> PfActs::set_switchdev(const PfStep &step) {
    const auto failed = [&step](const NetlinkError &error) {
        return pf_failed(step.pf, "its eswitch cannot be set to switchdev mode: " + error.detail);
    };
    auto devlink = DevlinkRequests::open();
    if (!devlink) {
        return failed(devlink.error());
    }
    const auto is_switchdev = devlink->is_switchdev(step.pf);
    if (!is_switchdev) {
        return failed(is_switchdev.error());
    }
    if (*is_switchdev) {
        return {};
    }
    const auto recorded =
        record_.change([&step](Owned &owned) { owned.pfs[step.pf].was_legacy = true; });
    if (!recorded) {
        return recorded;
    }
    module.info(step.pf.label() + ": setting the eswitch to switchdev mode");
    const auto done = devlink->set_switchdev(step.pf);
    return done ? Expected<void>() : failed(done.error());
}

Expected<void> PfActs::unbind_vf(const PfStep &step) {
    const DeviceFiles files(sysfs_, step.vf);
    const std::string driver = files.driver();
    if (driver.empty()) {
        return {};
    }
    const auto recorded = record_.change([&](Owned &owned) { owned.unbound[step.vf] = driver; });
    if (!recorded) {
        return recorded;
    }
    // ENODEV: somebody else has done it.
    const int error = files.unbind(driver);
    return error == 0 || error == ENODEV
               ? Expected<void>()
               : pf_failed(step.vf, "cannot be unbound from " + driver + ": " + errno_text(error));
}

Expected<void> PfActs::bind_vf(const PfStep &step) {
    const DeviceFiles files(sysfs_, step.vf);
    if (!files.exists() || !files.driver().empty()) {
        return forget_vf(step.vf);
    }
    // The operator's word, which also keeps every other driver away.
    const std::string wanted = files.driver_override();
    const std::string &driver = wanted.empty() ? step.driver : wanted;
    if (!files.has_driver_of_bus(driver)) {
        return pf_failed(step.vf,
                         "there is no driver " + driver + " to bind it to: modprobe " + driver);
    }
    if (const int error = files.bind(driver); error != 0 && error != EBUSY) {
        return pf_failed(step.vf, "cannot be bound to " + driver + ": " + errno_text(error));
    }
    return forget_vf(step.vf);
}

Expected<void> PfActs::forget_vf(const Handle &vf) {
    return record_.change([&vf](Owned &owned) { owned.unbound.erase(vf); });
}

Expected<void> PfActs::end(const Handle &pf) {
    return record_.change([&pf](Owned &owned) {
        if (const auto found = owned.pfs.find(pf); found != owned.pfs.end()) {
            found->second.made_vfs.reset();
        }
    });
}

}  // namespace vdpa::agent::host
