// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/reconcile/backoff.hpp"
#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::reconcile {

/* Has the PFs of vdpa-pfs be as they are to be, one step after the other, each PF by itself. What
 * the next step is, is found anew from the inventory each time (host::next_step()):
 *
 *      next_step() --error--> waiting, failed or invalid, until the inventory has changed
 *          | a step              ^
 *          v                     |
 *      being carried out --------+-- error: the same step again, at growing intervals
 *          | done, inventory read anew
 *          v
 *      next_step() --none--> as it is to be
 *
 * A step that was carried out and is still the next one, by an inventory that was read anew, is
 * asked for again only after a time, at growing intervals. A PF that is not named any more is left
 * as it is; but VFs that were unbound for it, by whichever agent, are bound again in the same way
 * (host::step_back()), and it is forgotten when none is left.
 *
 * Lives on the control thread. Whoever calls the service's answers must outlive this. */
class Pfs {
  public:
    struct Environment {
        boost::asio::io_context &io;
        host::PfService &service;
        /* Has the inventory be read anew, and calls `done` then. */
        std::function<void(const host::Handle &pf, std::function<void()> done)> refresh;
        std::function<void()> wake;                         // advance() is to be called
        std::function<void(const host::Handle &)> changed;  // problem() has another answer
        BackoffLimits backoff;
    };
    /* Interfaces that use functions of a PF. */
    using UsedBy = std::function<std::vector<std::string>(const host::Handle &pf)>;

    explicit Pfs(Environment environment);
    ~Pfs();

    void set_specs(const std::vector<host::PfSpec> &specs);
    /* What an earlier agent has left of its preparations. */
    void set_record(const host::PfRecord &record);

    /* Does what is to be done next. */
    void advance(const host::Inventory &inventory, const UsedBy &used_by);

    /* What functions of that PF have to wait for: pf-preparing, or why it is not being prepared;
     * none: it is as it is to be, or is not to be prepared. */
    std::optional<Error> problem(const host::Handle &pf) const;
    /* PFs that are to be prepared, in the order in which they are named, and others that something
     * is left to be done for. */
    std::vector<report::PfView> views() const;

  private:
    struct Pf;

    void advance(Pf &pf, const Expected<std::optional<host::PfStep>> &next);
    void carry_out(Pf &pf, const host::PfStep &step);
    void take(const host::PfStep &step, const Expected<void> &result);
    void read_record(const host::PfStep &step, const Expected<void> &result);
    void finish(const host::PfStep &step, const Expected<void> &result);
    void take_in_left_behind(const host::Inventory &inventory);
    void retry_later(Pf &pf);
    void set_problem(Pf &pf, std::optional<Error> problem);

    Environment env_;
    std::map<host::Handle, std::unique_ptr<Pf>> pfs_;
    std::vector<host::Handle> order_;
    host::PfRecord record_;
};

}  // namespace vdpa::agent::reconcile
