// SPDX-License-Identifier: Apache-2.0
#include "tests/device/mover.hpp"

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include "tests/device/test_device.hpp"

namespace vdpa::test {

namespace {

std::atomic<uint64_t> moved{0};

}  // namespace

uint64_t moved_frames() {
    return moved;
}

Mover::Mover(int vid, uint32_t pairs)
    : pool_(rte_pktmbuf_pool_create(("mover" + std::to_string(vid)).c_str(), 1023, 0, 0,
                                    RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY)),
      thread_([this, vid, pairs] { run(vid, pairs); }) {}

Mover::~Mover() {
    ends_ = true;
    thread_.join();
    rte_mempool_free(pool_);
}

void Mover::run(int vid, uint32_t pairs) {
    std::array<rte_mbuf *, 32> frames{};
    while (!ends_ && pool_) {
        uint16_t sum = 0;
        const uint32_t present = std::min<uint32_t>(pairs, rte_vhost_get_vring_num(vid) / 2);
        for (uint32_t pair = 0; pair < present; ++pair) {
            const auto receive = static_cast<uint16_t>(2 * pair);
            const auto transmit = static_cast<uint16_t>(2 * pair + 1);
            const uint16_t count =
                rte_vhost_dequeue_burst(vid, transmit, pool_, frames.data(), frames.size());
            if (count > 0) {
                rte_vhost_enqueue_burst(vid, receive, frames.data(), count);
                rte_pktmbuf_free_bulk(frames.data(), count);
            }
            sum = static_cast<uint16_t>(sum + count);
        }
        moved += sum;
        if (sum == 0) {
            // It polls, as the software that it is; a test has other things to do for the CPU.
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
}

}  // namespace vdpa::test
