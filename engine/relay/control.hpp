// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "engine/relay/ring.hpp"

namespace vdpa::engine::relay {

/* The control queue (virtio 1.2, 5.1.6.5), for front-ends that hand it to the back-end: User-mode
 * Linux does, QEMU answers it itself. The driver waits for each answer, some by spinning, so that
 * there must be one for everything. */
class Control {
  public:
    /* `set_pairs`: see VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET; false refuses. Runs in the worker. */
    Control(Ring &ring, uint64_t features, std::function<bool(uint16_t)> set_pairs);

    /* Answers what waits, up to a bound; returns the number of commands. */
    unsigned burst(Segments &scratch);

  private:
    bool answer(const Chain &chain, const Segments &segments);
    bool execute(const uint8_t *command, size_t size) const;

    Ring &ring_;
    uint64_t features_;
    std::function<bool(uint16_t)> set_pairs_;
};

}  // namespace vdpa::engine::relay
