// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace vdpa::agent::config {

/* Users and groups of this host by name or number. */
class Accounts {
  public:
    virtual ~Accounts() = default;
    /* The number, or nothing if there is no such user or group. */
    virtual std::optional<uid_t> user(const std::string &name) const = 0;
    virtual std::optional<gid_t> group(const std::string &name) const = 0;
};

/* The host's own, by getpwnam_r(3) and getgrnam_r(3). A lookup may take as long as the host's name
 * service does; users of virtual machine monitors are local. */
class HostAccounts : public Accounts {
  public:
    std::optional<uid_t> user(const std::string &name) const override;
    std::optional<gid_t> group(const std::string &name) const override;
};

}  // namespace vdpa::agent::config
