// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* One entry of Open_vSwitch other_config:vdpa-pfs. */
struct PfSpec {
    Handle handle;
    std::optional<uint32_t> num_vfs;  // none: as many as there are

    bool operator==(const PfSpec &) const = default;
};

/* One step towards a prepared PF. Each is idempotent. `end` says in the record that the preparation
 * is over, `forget_vf` that a VF which we unbound has gone. */
struct PfStep {
    enum class Kind {
        set_num_vfs,
        unbind_vf,
        set_switchdev,
        bind_vf,
        forget_vf,
        set_uplink_up,
        end
    };
    Kind kind = Kind::set_num_vfs;
    Handle pf = {};
    uint32_t num_vfs = 0;
    Handle vf = {};           // unbind_vf, bind_vf, forget_vf
    std::string driver = {};  // bind_vf
    int ifindex = 0;          // set_uplink_up

    bool operator==(const PfStep &) const = default;
};

/* What the record says of preparations that are under way. */
struct PfRecord {
    std::map<Handle, std::string> unbound = {};  // VFs that we unbound, with the driver they had
    /* PFs that had their VFs made in the preparation, by how many: nobody but udev and its like has
     * had to do with these VFs before. */
    std::map<Handle, uint32_t> made = {};

    bool operator==(const PfRecord &) const = default;
};

/* What is to be done for a PF now: the next step, none when it is as the spec says, or why not.
 * `used_by`: Interfaces that use functions of the PF. VFs are unbound before the eswitch goes to
 * switchdev and bound again after it, or when it turns out that it cannot. Errors: pf-missing,
 * not-a-pf, sriov-unsupported, eswitch-unsupported, eswitch-unread, pf-needs-drain (with what holds
 * it). */
Expected<std::optional<PfStep>> next_step(const Inventory &inventory, const PfSpec &spec,
                                          const std::vector<std::string> &used_by,
                                          const PfRecord &record);

/* What is still to be done for a PF that is not to be prepared any more, wherever its preparation
 * was left; none: nothing. Everything else about it stays as it is. */
std::optional<PfStep> step_back(const Inventory &inventory, const Handle &pf,
                                const PfRecord &record);

/* Carries out what blocks in the kernel for seconds, on one slow worker for each PF. Answers come
 * later, each once, on the control thread. */
class PfService {
  public:
    virtual ~PfService() = default;

    /* Errors: pf-failed, with what the kernel said (for devlink: its extended acknowledgement);
     * record-failed, and then nothing was done. */
    virtual void carry_out(const PfStep &step, std::function<void(Expected<void>)> done) = 0;

    /* Reads the record anew. Error: record-failed. */
    virtual void read_record(std::function<void(Expected<PfRecord>)> done) = 0;
};

}  // namespace vdpa::agent::host
