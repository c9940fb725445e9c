// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace vdpa {

/* Cuts a byte stream into lines. It knows nothing of what a line holds, and keeps at most
 * `max_line` bytes whatever the peer sends. */
class LineFramer {
  public:
    explicit LineFramer(size_t max_line) : max_line_(max_line) {}

    /* Takes the next bytes of the stream and calls `on_line` for every line that is complete,
     * without its newline; empty lines are passed over. Returns false, and takes nothing more,
     * once a line is longer than the limit: the stream cannot be used any further. */
    [[nodiscard]] bool feed(std::string_view bytes,
                            const std::function<void(std::string_view)> &on_line);

    /* Bytes held of a line that is not complete. */
    size_t pending() const { return partial_.size(); }

  private:
    size_t max_line_;
    std::string partial_;
    bool overflown_ = false;
};

}  // namespace vdpa
