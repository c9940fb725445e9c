// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/vhost/message.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::test {

/* The vhost-user front-end of a guest with split rings that lie in a memory of its own (QEMU's
 * docs/interop/vhost-user.rst). It says what it is told to say, right or wrong. Every wait for an
 * answer has a bound. */
class FrontEnd {
  public:
    using Request = engine::vhost::Request;

    static constexpr uint64_t memory_size = 1 << 20;
    static constexpr uint64_t user_address = 0x7f00'0000'0000;  // where the guest's memory begins
    static constexpr uint32_t ring_size = 64;

    /* Connects. The engine may refuse, which shows at the first answer. */
    explicit FrontEnd(const std::string &path);

    /* All it takes for a device with so many pairs to run: features, memory, rings. False: it was
     * hung up on. `features`: of those that are offered; VERSION_1 and PROTOCOL_FEATURES alone, if
     * none are given. */
    bool start(uint32_t pairs, std::optional<uint64_t> features = {});
    bool negotiate(std::optional<uint64_t> features = {});
    bool share_memory();
    /* Sets up a ring at `address`, by default one of its own. */
    void set_up_ring(uint32_t ring, std::optional<uint64_t> address = {});
    void enable_ring(uint32_t ring, bool on);
    /* As QEMU when the guest's driver stops: GET_VRING_BASE of each ring. */
    void stop(uint32_t pairs);

    /* Opens the back-end's channel; the other end of it is returned. */
    UniqueFd open_channel();

    /* Sends a message; `need_reply` asks for an acknowledgement, which acknowledged() reads. */
    void send(Request request, const void *payload, size_t size, const std::vector<int> &fds = {},
              bool need_reply = false);
    void send_u64(Request request, uint64_t value, const std::vector<int> &fds = {},
                  bool need_reply = false);
    void send_state(Request request, uint32_t index, uint32_t number, bool need_reply = false);
    /* The u64 that a request asks for. */
    std::optional<uint64_t> ask(Request request);
    /* 0: done; else: refused. */
    std::optional<uint64_t> acknowledged();
    /* size bytes of the configuration space from offset on; empty: an error. */
    std::optional<std::vector<uint8_t>> read_config(uint32_t offset, uint32_t size);
    /* Whether everything said so far has been handled, and the connection goes on. */
    bool settled() { return ask(Request::get_features).has_value(); }
    void hang_up() { socket_.reset(); }

    int memory() const { return memory_.get(); }
    uint64_t negotiated() const { return features_; }

  private:
    bool read(void *bytes, size_t size);

    UniqueFd socket_;
    UniqueFd memory_;
    std::vector<UniqueFd> events_;
    uint64_t features_ = 0;
};

}  // namespace vdpa::test
