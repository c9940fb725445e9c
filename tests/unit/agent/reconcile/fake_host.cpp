// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/fake_host.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace vdpa::agent::reconcile {

namespace {

using host::Function;
using host::FunctionId;
using host::Handle;
using host::Pf;
using host::PfStep;
using schema::Reason;

const char *const random_mac = "06:00:00:00:00:99";

bool is_pci(const Pf &pf) {
    return pf.handle.bus == "pci";
}

}  // namespace

void FakeHost::attach(Listener listener) {
    listener_ = std::move(listener);
    agent_++;
    held_.clear();
    publish();
}

void FakeHost::publish() {
    auto copy = std::make_shared<const host::Inventory>(inventory);
    boost::asio::post(io_, [this, agent = agent_, copy] {
        if (agent == agent_) {
            listener_(copy);
        }
    });
}

void FakeHost::change(const std::function<void()> &how) {
    how();
    publish();
}

void FakeHost::act(std::function<void()> what) {
    if (holding_) {
        held_.push_back(std::move(what));
        return;
    }
    boost::asio::post(io_, [this, agent = agent_, what = std::move(what)] {
        if (agent == agent_) {
            what();
            switch_looks();
            if (auto_publish) {
                publish();
            }
        }
    });
}

void FakeHost::let_go() {
    holding_ = false;
    for (auto &held : std::exchange(held_, {})) {
        act(held);
    }
}

template <typename T>
void FakeHost::answer(std::function<void(Expected<T>)> done, Expected<T> result) {
    boost::asio::post(io_, [this, agent = agent_, done, result] {
        if (agent == agent_) {
            done(result);
        }
    });
}

size_t FakeHost::count(const std::string &call) const {
    return static_cast<size_t>(std::count_if(
        calls.begin(), calls.end(), [&call](const auto &made) { return made.starts_with(call); }));
}

/* Representors */

void FakeHost::ensure_representor(const std::string &name, const host::RepresentorSpec &spec,
                                  std::function<void(Expected<host::RepresentorState>)> done) {
    calls.push_back("ensure " + name + " vf" + std::to_string(spec.function.number));
    act([this, name, spec, done] { answer(done, ensure(name, spec)); });
}

Expected<host::RepresentorState> FakeHost::ensure(const std::string &name,
                                                  const host::RepresentorSpec &spec) {
    if (const auto error = ensure_error ? ensure_error(name) : std::nullopt) {
        return tl::make_unexpected(*error);
    }
    Function *function = find(spec.function);
    if (!function || (!spec.keep_netdev &&
                      (!function->representor || function->representor->ifindex != spec.ifindex))) {
        return fail(Reason::representor_missing, "there is none of that index");
    }
    for (const auto &[other, entry] : record) {
        if (other == name ? entry.function != spec.function : entry.function == spec.function) {
            faults.push_back(name + " is given " + spec.function.text() + " before " + other +
                             " has given it, or another, back");
        }
    }
    host::RepresentorState state{spec.ifindex, false};
    if (!spec.keep_netdev) {
        host::Representor &representor = *function->representor;
        const host::Representor *holder = find_netdev(name);
        if (holder && holder != &representor) {
            return fail(Reason::name_taken, name + " is another's");
        }
        if (!spec.reserved_names.empty()) {
            return fail(Reason::duplicate_device, representor.netdev + " is the name of a row");
        }
        record.emplace(name, Record{spec.function, representor.netdev});
        if (representor.netdev != name) {
            representor.master.reset();  // its vport is deleted
            representor.netdev = name;
            state.renamed = true;
        }
        representor.up = true;
    } else {
        record.emplace(name, Record{spec.function, ""});
    }
    function->mac = spec.mac.empty() ? function->mac : spec.mac;
    function->netdev_up = false;
    return state;
}

void FakeHost::release_representor(const std::string &name, bool row_goes_on,
                                   std::function<void(Expected<void>)> done) {
    calls.push_back("release " + name);
    act([this, name, row_goes_on, done] { answer(done, release(name, row_goes_on)); });
}

Expected<void> FakeHost::release(const std::string &name, bool row_goes_on) {
    const auto found = record.find(name);
    if (found == record.end()) {
        return {};
    }
    Function *function = find(found->second.function);
    const bool is_renamed = !found->second.old_name.empty();
    if (function && function->representor && is_renamed) {
        host::Representor &representor = *function->representor;
        if (representor.master && !row_goes_on) {
            return fail(Reason::ovs_detach, name + " is still attached");
        }
        representor.master.reset();
        representor.netdev = found->second.old_name;
        representor.up = false;
    }
    if (function) {
        function->mac = random_mac;
    }
    record.erase(found);
    return {};
}

void FakeHost::owned_representors(
    std::function<void(Expected<std::map<std::string, FunctionId>>)> done) {
    using Functions = std::map<std::string, FunctionId>;
    if (record_error) {
        answer<Functions>(done, tl::make_unexpected(*record_error));
        return;
    }
    Functions functions;
    for (const auto &[name, entry] : record) {
        functions[name] = entry.function;
    }
    answer<Functions>(done, functions);
}

/* PFs */

void FakeHost::carry_out(const PfStep &wanted, std::function<void(Expected<void>)> done) {
    static const char *const names[] = {"vfs", "unbind", "switchdev", "bind", "up"};
    calls.push_back("pf " + std::string(names[static_cast<size_t>(wanted.kind)]));
    act([this, wanted, done] { answer(done, step(wanted)); });
}

Expected<void> FakeHost::step(const PfStep &wanted) {
    if (const auto error = step_error ? step_error(wanted) : std::nullopt) {
        return tl::make_unexpected(*error);
    }
    const auto pf = std::find_if(inventory.pfs.begin(), inventory.pfs.end(),
                                 [&wanted](const Pf &each) { return each.handle == wanted.pf; });
    if (pf == inventory.pfs.end()) {
        return fail(Reason::pf_failed, "no such PF");
    }
    if (is_step_idle) {
        return {};
    }
    switch (wanted.kind) {
        case PfStep::Kind::set_num_vfs:
            if (!record.empty()) {
                faults.push_back("the number of VFs is changed while one is in use");
            }
            pf->functions.clear();
            pf->num_vfs = wanted.num_vfs;
            for (uint32_t i = 0; i < wanted.num_vfs; i++) {
                pf->functions.push_back(make_vf(*pf, i));
            }
            break;
        case PfStep::Kind::set_switchdev:
            if (!record.empty()) {
                faults.push_back("the eswitch mode is changed while a VF is in use");
            }
            pf->eswitch = Pf::Eswitch::switchdev;
            for (Function &function : pf->functions) {
                function = make_vf(*pf, function.id.number);
            }
            break;
        case PfStep::Kind::unbind_vf:
        case PfStep::Kind::bind_vf:
            for (Function &function : pf->functions) {
                if (function.device == wanted.vf && wanted.kind == PfStep::Kind::bind_vf) {
                    function.driver = wanted.driver;
                    unbound.erase(wanted.vf);
                } else if (function.device == wanted.vf) {
                    unbound[wanted.vf] = std::exchange(function.driver, "");
                }
            }
            break;
        case PfStep::Kind::set_uplink_up:
            for (Pf::Uplink &uplink : pf->uplinks) {
                uplink.up = uplink.up || uplink.ifindex == wanted.ifindex;
            }
            break;
    }
    return {};
}

void FakeHost::unbound_vfs(std::function<void(Expected<std::map<Handle, std::string>>)> done) {
    answer<std::map<Handle, std::string>>(done, unbound);
}

/* Kernel vDPA devices */

void FakeHost::ensure_vdpa(const host::VdpaSpec &spec, std::function<void(Expected<Made>)> done) {
    calls.push_back("make " + spec.name);
    act([this, spec, done] { answer(done, make(spec)); });
}

Expected<host::VdpaService::Made> FakeHost::make(const host::VdpaSpec &spec) {
    if (const auto error = ensure_error ? ensure_error(spec.name) : std::nullopt) {
        return tl::make_unexpected(*error);
    }
    for (const host::VdpaDevice &device : inventory.vdpa_devices) {
        if (device.name == spec.name) {
            if (!vdpa_record.contains(spec.name)) {
                return fail(Reason::name_taken, spec.name + " is another's");
            }
            Made made{*device.path, {}};
            if (device.mac != spec.mac) {
                made.notes.push_back("it is in use with MAC address " + device.mac);
            }
            return made;
        }
    }
    vdpa_record.insert(spec.name);
    host::VdpaDevice device;
    device.name = spec.name;
    device.management = spec.management;
    device.path = "/dev/vhost-vdpa-" + std::to_string(next_vdpa_++);
    device.mac = spec.mac;
    device.mtu = spec.mtu;
    put(device);
    return Made{*device.path, {}};
}

void FakeHost::remove_vdpa(const std::string &name, std::function<void(Expected<void>)> done) {
    calls.push_back("unmake " + name);
    act([this, name, done] {
        for (const host::VdpaDevice &device : inventory.vdpa_devices) {
            if (device.name == name && vdpa_record.contains(name) && has_open(*device.path)) {
                faults.push_back(name + " is removed while an engine has it open");
            }
        }
        if (vdpa_record.erase(name) != 0) {
            std::erase_if(inventory.vdpa_devices,
                          [&name](const auto &device) { return device.name == name; });
        }
        answer<void>(done, {});
    });
}

void FakeHost::owned_vdpa(std::function<void(Expected<std::vector<std::string>>)> done) {
    answer<std::vector<std::string>>(
        done, std::vector<std::string>(vdpa_record.begin(), vdpa_record.end()));
}

void FakeHost::vdpa_stats(
    const std::string &name, uint32_t queues,
    std::function<void(Expected<std::map<uint32_t, host::VdpaCounters>>)> done) {
    calls.push_back("stats " + name);
    std::map<uint32_t, host::VdpaCounters> counters;
    if (queues > 0) {
        counters[0] = {{"received_desc", 5}};
    }
    answer<std::map<uint32_t, host::VdpaCounters>>(done, counters);
}

/* What others do */

Pf &FakeHost::add_pf(uint32_t vfs) {
    Pf pf;
    pf.handle = {"pci", "0000:43:00.0"};
    pf.driver = "mlx5_core";
    pf.total_vfs = 16;
    pf.num_vfs = vfs;
    pf.eswitch = Pf::Eswitch::switchdev;
    pf.switch_id = "aa";
    pf.uplinks = {{next_ifindex_++, "p0", true}};
    for (uint32_t i = 0; i < vfs; i++) {
        pf.functions.push_back(make_vf(pf, i));
    }
    inventory.pfs.push_back(pf);
    publish();
    return inventory.pfs.back();
}

Pf &FakeHost::add_netdevsim() {
    Pf pf;
    pf.handle = {"netdevsim", "netdevsim10"};
    pf.driver = "netdevsim";
    pf.total_vfs = host::unlimited_vfs;
    pf.eswitch = Pf::Eswitch::legacy;
    pf.uplinks = {{next_ifindex_++, "sim0", true}};
    inventory.pfs.insert(inventory.pfs.begin(), pf);
    publish();
    return inventory.pfs.front();
}

Function FakeHost::make_vf(const Pf &pf, uint32_t number) {
    Function function;
    function.id = FunctionId{pf.handle, std::nullopt, pf.number, host::Flavour::vf, number};
    if (is_pci(pf)) {
        function.device = Handle{"pci", "0000:43:00." + std::to_string(number + 2)};
        function.driver = "mlx5_core";
    }
    function.mac = "02:00:00:00:00:0" + std::to_string(number % 10);
    if (pf.eswitch == Pf::Eswitch::switchdev) {
        host::Representor representor;
        representor.ifindex = next_ifindex_++;
        representor.netdev = "eth" + std::to_string(number);
        representor.devlink = pf.handle;
        representor.devlink_port = number + 1;
        function.representor = representor;
    }
    return function;
}

void FakeHost::add_management(const std::string &name) {
    change([this, &name] {
        inventory.has_vdpa = true;
        inventory.vdpa_managements.push_back({name, true, 16});
    });
}

void FakeHost::add_vdpa(const std::string &name, const std::string &path) {
    change([this, &name, &path] {
        inventory.has_vdpa = true;
        host::VdpaDevice device;
        device.name = name;
        device.management = "vdpasim_net";
        device.path = path;
        put(device);
    });
}

void FakeHost::put(const host::VdpaDevice &device) {
    inventory.vdpa_devices.push_back(device);
    std::sort(inventory.vdpa_devices.begin(), inventory.vdpa_devices.end(),
              [](const auto &a, const auto &b) { return a.name < b.name; });
}

void FakeHost::remove_vdpa_by_hand(const std::string &name) {
    change([this, &name] {
        std::erase_if(inventory.vdpa_devices,
                      [&name](const auto &device) { return device.name == name; });
    });
}

void FakeHost::take_vf(uint32_t number) {
    change([this, number] {
        std::erase_if(inventory.pfs.front().functions,
                      [number](const Function &each) { return each.id.number == number; });
    });
}

void FakeHost::put_vf(uint32_t number) {
    change([this, number] {
        Pf &pf = inventory.pfs.front();
        pf.functions.push_back(make_vf(pf, number));
        std::sort(pf.functions.begin(), pf.functions.end(),
                  [](const Function &a, const Function &b) { return a.id < b.id; });
    });
}

Function &FakeHost::vf(uint32_t number) {
    auto &functions = inventory.pfs.front().functions;
    return *std::find_if(functions.begin(), functions.end(),
                         [number](const Function &each) { return each.id.number == number; });
}

std::string FakeHost::netdev(uint32_t number) {
    for (const Function &function : inventory.pfs.front().functions) {
        if (function.id.number == number && function.representor) {
            return function.representor->netdev;
        }
    }
    return "";
}

Function *FakeHost::find(const FunctionId &id) {
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.id == id) {
                return &function;
            }
        }
    }
    return nullptr;
}

host::Representor *FakeHost::find_netdev(const std::string &name) {
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.representor && function.representor->netdev == name) {
                return &*function.representor;
            }
        }
    }
    return nullptr;
}

void FakeHost::switch_looks() {
    if (switch_stopped) {
        return;
    }
    constexpr int ovs_system = 3;
    const host::Inventory before = inventory;
    for (Pf &pf : inventory.pfs) {
        for (Function &function : pf.functions) {
            if (function.representor) {
                host::Representor &representor = *function.representor;
                representor.master = has_row(representor.netdev) && representor.up
                                         ? std::optional(ovs_system)
                                         : std::nullopt;
            }
        }
    }
    if (auto_publish && !(inventory == before)) {
        publish();
    }
}

}  // namespace vdpa::agent::reconcile
