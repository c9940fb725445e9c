// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "ovs-vdpa-agent/config/accounts.hpp"

namespace vdpa::agent::config {

/* Asks the host's account database, as /etc/nsswitch.conf has it, by getpwnam_r(3) or
 * getgrnam_r(3), and waits for as long as that takes: with sssd or LDAP that may be minutes.
 * Nothing: it could not tell. */
std::optional<Account> ask_name_service(const AccountName &name);

}  // namespace vdpa::agent::config
