// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

/* A folder that goes with the test. */
class Folder {
  public:
    Folder();
    ~Folder();
    std::string path(const std::string &name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

/* A network namespace of its own for the test program, and netdevs that are nobody's. Skips where
 * there is no privilege or no /dev/net/tun. Every netdev that a test leaves is deleted. */
class NamespaceTest : public testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    /* A TAP that somebody else made; persistent, or for as long as the result lives. */
    static UniqueFd make_foreign(const std::string &name, bool persistent);
    static void remove_by_hand(const std::string &name);
    static void rename_by_hand(const std::string &from, const std::string &to);
    static void rename(const std::string &from, const std::string &to);
    static void set_up(const std::string &name, bool up);
    /* A bridge of the kernel, which a test removes itself; and a netdev that becomes, or ceases to
     * be, a port of it. */
    static void make_bridge(const std::string &name);
    static void remove_bridge(const std::string &name);
    static void attach(const std::string &bridge, const std::string &netdev, bool attached);
    /* An IPv4 address; 0.0.0.0 removes it. */
    static void set_address(const std::string &name, const std::string &address);

    static std::optional<Link> find(const std::string &name);
    static std::string read_file(const std::string &path);

    Folder folder;
};

}  // namespace vdpa::agent::host
