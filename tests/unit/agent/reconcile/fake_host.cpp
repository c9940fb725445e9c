// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/fake_host.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace vdpa::agent::reconcile {

namespace {

using host::Function;
using host::FunctionId;
using host::Pf;
using host::PfStep;
using schema::Reason;

const char *const random_mac = "06:00:00:00:00:99";

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
    static const char *const names[] = {"vfs",    "unbind", "switchdev", "bind",
                                        "forget", "up",     "end"};
    calls.push_back("pf " + std::string(names[static_cast<size_t>(wanted.kind)]));
    act([this, wanted, done] { answer(done, step(wanted)); });
}

/* Of what went away with its NIC only the record tells. */
bool FakeHost::is_in_use() {
    return std::any_of(record.begin(), record.end(), [this](const auto &entry) {
        const Function *function = find(entry.second.function);
        return function && function->representor && function->representor->netdev == entry.first;
    });
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
            if (is_in_use()) {
                faults.push_back("the number of VFs is changed while one is in use");
            }
            pf_record.made[pf->handle] = wanted.num_vfs;
            pf->functions.clear();
            pf->num_vfs = wanted.num_vfs;
            for (uint32_t i = 0; i < wanted.num_vfs; i++) {
                pf->functions.push_back(make_vf(*pf, i));
            }
            break;
        case PfStep::Kind::set_switchdev:
            if (is_in_use()) {
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
                    pf_record.unbound.erase(wanted.vf);
                } else if (function.device == wanted.vf) {
                    pf_record.unbound[wanted.vf] = std::exchange(function.driver, "");
                }
            }
            break;
        case PfStep::Kind::forget_vf:
            pf_record.unbound.erase(wanted.vf);
            break;
        case PfStep::Kind::set_uplink_up:
            for (Pf::Uplink &uplink : pf->uplinks) {
                uplink.up = uplink.up || uplink.ifindex == wanted.ifindex;
            }
            break;
        case PfStep::Kind::end:
            pf_record.made.erase(pf->handle);
            break;
    }
    return {};
}

void FakeHost::read_record(std::function<void(Expected<host::PfRecord>)> done) {
    using Answer = Expected<host::PfRecord>;
    answer<host::PfRecord>(
        done, record_error ? Answer(tl::make_unexpected(*record_error)) : Answer(pf_record));
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

}  // namespace vdpa::agent::reconcile
