// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <optional>

#include "ovs-vdpa-agent/config/accounts.hpp"
#include "ovs-vdpa-agent/config/name_service.hpp"
#include "ovs-vdpa-agent/host/background_reads.hpp"

namespace vdpa::agent::config {

/* What the host's name service has said of the accounts that are looked up. It is asked on threads
 * of its own, about each name by one at a time, and nobody waits for them: neither the end of the
 * process nor other names, unless 64 are being asked about.
 *
 * Lives on the control thread. */
class AccountCache : public Accounts {
  public:
    /* Called on a thread of its own, from several at a time. Nothing: it could not tell. */
    using Ask = std::function<std::optional<Account>(const AccountName &)>;
    using Changed = std::function<void(const AccountName &)>;

    /* `changed` is called when there is another answer than before. */
    AccountCache(boost::asio::io_context &io, Changed changed, Ask ask = ask_name_service);

    Account find(const AccountName &name) const override;
    void look_up(const AccountName &name) override;
    void forget(const AccountName &name) override;
    /* Looks up all that is not forgotten. */
    void refresh();

  private:
    void take(const AccountName &name, const std::optional<Account> &answer);

    const Changed changed_;
    const Ask ask_;
    std::map<AccountName, Account> answers_;
    host::BackgroundReads reads_;
};

}  // namespace vdpa::agent::config
