// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "engine/vdpa/kernel/session.hpp"

namespace vdpa::engine::kernel {

/* The device's end of a control queue (virtio 1.2, 2.7.14 and 2.8.14): takes commands out of the
 * ring and answers them. */
class FakeControlDevice {
  public:
    /* The ring is at these addresses of the device; `memory` translates them to ours. */
    struct Addresses {
        uint32_t size;
        uint64_t descriptors;
        uint64_t driver_area;
        uint64_t device_area;
    };
    using Translate = std::function<void *(uint64_t address)>;
    FakeControlDevice(const Addresses &ring, bool packed, Translate translate)
        : ring_(ring), packed_(packed), translate_(std::move(translate)) {}

    struct Command {
        uint8_t command_class;
        uint8_t command;
        uint16_t pairs;
    };
    /* The next command, if there is one, answered with `answer`. */
    std::optional<Command> serve(uint8_t answer);
    /* The driver wants to be interrupted for what was used last. */
    bool interrupt_wanted() const { return interrupt_wanted_; }

  private:
    std::optional<Command> serve_split(uint8_t answer);
    std::optional<Command> serve_packed(uint8_t answer);
    Command read_command(uint64_t address, uint32_t length) const;
    void write_answer(uint64_t address, uint8_t answer) const;

    const Addresses ring_;
    const bool packed_;
    const Translate translate_;
    uint16_t next_ = 0;
    bool wrap_ = true;
    bool interrupt_wanted_ = false;
};

}  // namespace vdpa::engine::kernel
