// SPDX-License-Identifier: Apache-2.0
#include "schema/support/json_lines.hpp"

namespace vdpa {

bool LineFramer::feed(std::string_view bytes,
                      const std::function<void(std::string_view)> &on_line) {
    while (!overflown_ && !bytes.empty()) {
        const size_t newline = bytes.find('\n');
        const std::string_view part = bytes.substr(0, newline);
        if (partial_.size() + part.size() > max_line_) {
            overflown_ = true;
            partial_ = {};
            break;
        }
        if (newline == std::string_view::npos) {
            partial_.append(part);
            break;
        }
        if (partial_.empty()) {
            if (!part.empty()) {
                on_line(part);
            }
        } else {
            partial_.append(part);
            const std::string line = std::move(partial_);
            partial_.clear();
            on_line(line);
        }
        bytes.remove_prefix(newline + 1);
    }
    return !overflown_;
}

}  // namespace vdpa
