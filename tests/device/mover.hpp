// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

struct rte_mempool;

namespace vdpa::test {

/* Sends what a guest sends back to it, on a thread of its own, by the vhost library's software
 * datapath; which keeps the positions of the rings where a NIC's driver would have to. */
class Mover {
  public:
    Mover(int vid, uint32_t pairs);
    ~Mover();
    Mover(const Mover &) = delete;
    Mover &operator=(const Mover &) = delete;

  private:
    void run(int vid, uint32_t pairs);

    rte_mempool *const pool_;
    std::atomic<bool> ends_{false};
    std::thread thread_;
};

}  // namespace vdpa::test
