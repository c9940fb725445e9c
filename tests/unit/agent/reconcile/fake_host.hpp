// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/host/representor_service.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"

namespace vdpa::agent::reconcile {

/* PFs, VFs, representors and kernel vDPA devices of a host, the record of what of them is ours, the
 * kernel's and ovs-vswitchd's part in it, and what is heard of all that. They stay when the agent
 * goes. */
class FakeHost : public host::RepresentorService, public host::PfService, public host::VdpaService {
  public:
    using Listener = std::function<void(std::shared_ptr<const host::Inventory>)>;

    explicit FakeHost(boost::asio::io_context &io) : io_(io) {}

    /* Who is told of changes from now on; the answers that the one before waits for are lost. */
    void attach(Listener listener);

    /* RepresentorService */
    void ensure_representor(const std::string &name, const host::RepresentorSpec &spec,
                            std::function<void(Expected<host::RepresentorState>)> done) override;
    void release_representor(const std::string &name, bool row_goes_on,
                             std::function<void(Expected<void>)> done) override;
    void owned_representors(
        std::function<void(Expected<std::map<std::string, host::FunctionId>>)> done) override;
    /* PfService */
    void carry_out(const host::PfStep &step, std::function<void(Expected<void>)> done) override;
    void read_record(std::function<void(Expected<host::PfRecord>)> done) override;
    /* VdpaService */
    void ensure_vdpa(const host::VdpaSpec &spec, std::function<void(Expected<Made>)> done) override;
    void remove_vdpa(const std::string &name, std::function<void(Expected<void>)> done) override;
    void owned_vdpa(std::function<void(Expected<std::vector<std::string>>)> done) override;
    void vdpa_stats(
        const std::string &name, uint32_t queues,
        std::function<void(Expected<std::map<uint32_t, host::VdpaCounters>>)> done) override;

    /* What others do to the host; told at once. A PF of ConnectX kind at 0000:43:00.0, in switchdev
     * mode, whose VFs are 0000:43:00.2 and on, bound to mlx5_core, and whose representors are eth0
     * and on. */
    host::Pf &add_pf(uint32_t vfs);
    /* A PF without PCI device: netdevsim/netdevsim10, in legacy mode, without VFs. */
    host::Pf &add_netdevsim();
    void add_management(const std::string &name);
    void add_vdpa(const std::string &name, const std::string &path);
    void remove_vdpa_by_hand(const std::string &name);
    /* Takes the VF off, with its representor, or puts a new one in its place. */
    void take_vf(uint32_t number);
    void put_vf(uint32_t number);
    void change(const std::function<void()> &how);
    host::Function &vf(uint32_t number);
    /* Netdev of the representor of the VF; empty: there is none. */
    std::string netdev(uint32_t number);
    void publish();
    /* ovs-vswitchd takes the representors whose names are those of rows, and lets go of others. */
    void switch_looks();
    size_t count(const std::string &call) const;

    /* Requests are not carried out until they are let go. */
    void hold() { holding_ = true; }
    void let_go();

    host::Inventory inventory;
    bool auto_publish = true;
    bool switch_stopped = false;
    std::function<bool(const std::string &)> has_row = [](const std::string &) { return false; };
    std::function<bool(const std::string &)> has_open = [](const std::string &) { return false; };
    std::function<std::optional<Error>(const std::string &)> ensure_error;
    std::function<std::optional<Error>(const host::PfStep &)> step_error;
    bool is_step_idle = false;  // steps of PFs succeed and do nothing
    std::optional<Error> record_error;
    struct Record {
        host::FunctionId function;
        std::string old_name;
    };
    std::map<std::string, Record> record;
    std::set<std::string> vdpa_record;
    host::PfRecord pf_record;
    std::vector<std::string> calls;   // "ensure vm1 vf0", "release vm1", "make vm1", "pf vfs 4"
    std::vector<std::string> faults;  // what a real host must never be asked for

  private:
    Expected<host::RepresentorState> ensure(const std::string &name,
                                            const host::RepresentorSpec &spec);
    Expected<void> release(const std::string &name, bool row_goes_on);
    Expected<void> step(const host::PfStep &step);
    bool is_in_use();
    Expected<Made> make(const host::VdpaSpec &spec);
    void put(const host::VdpaDevice &device);
    host::Function *find(const host::FunctionId &id);
    host::Representor *find_netdev(const std::string &name);
    host::Function make_vf(const host::Pf &pf, uint32_t number);
    void act(std::function<void()> what);
    template <typename T>
    void answer(std::function<void(Expected<T>)> done, Expected<T> result);

    boost::asio::io_context &io_;
    Listener listener_;
    uint64_t agent_ = 0;
    int next_ifindex_ = 100;
    int next_vdpa_ = 7;
    bool holding_ = false;
    std::deque<std::function<void()>> held_;
};

}  // namespace vdpa::agent::reconcile
