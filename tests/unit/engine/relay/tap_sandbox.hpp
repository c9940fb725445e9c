// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::relay::test {

/* A network namespace of its own for the test program, and TAP netdevs in it. */
class TapSandbox : public testing::Test {
  protected:
    /* Skips the test where there is no privilege or no /dev/net/tun. */
    void SetUp() override;
    void TearDown() override;

    /* A persistent TAP that is up, as an emulated VF is. */
    void make_tap(const std::string &name, bool multi_queue = true);
    /* Also while it is open. */
    void delete_netdev(const std::string &name);
    bool exists(const std::string &name) const;
    bool carrier(const std::string &name) const;
    /* Queues that the kernel uses. */
    unsigned queues(const std::string &name) const;
    /* Whether the kernel leaves segmentation of TCP over IPv4 to who reads the TAP. */
    bool tso(const std::string &name) const;

  private:
    std::map<std::string, short> taps_;  // and their flags
};

/* The host's end of a netdev: what a bridge would send to it and receive from it. */
class HostPort {
  public:
    explicit HostPort(const std::string &netdev);
    bool send(const std::vector<uint8_t> &frame);
    /* The next of our frames that came in; empty when there is none. */
    std::vector<uint8_t> receive();

  private:
    UniqueFd socket_;
};

/* A frame of an EtherType for local experiments with a number and `payload` bytes. */
std::vector<uint8_t> test_frame(uint32_t number, size_t payload = 50);
uint32_t number_of(const std::vector<uint8_t> &frame);

/* Whether `condition` became true within the bound. */
bool eventually(const std::function<bool()> &condition,
                std::chrono::milliseconds bound = std::chrono::seconds(10));

}  // namespace vdpa::engine::relay::test
