// SPDX-License-Identifier: Apache-2.0
#include "engine/dpdk_errors.hpp"

namespace vdpa::engine {

namespace {

thread_local DpdkErrors *innermost = nullptr;

}  // namespace

DpdkErrors::DpdkErrors(bool expected) : expected_(expected), outer_(innermost) {
    innermost = this;
}

DpdkErrors::~DpdkErrors() {
    innermost = outer_;
}

std::string DpdkErrors::text() const {
    std::string text;
    for (const std::string &line : lines_) {
        text += text.empty() ? line : "; " + line;
    }
    return text;
}

bool DpdkErrors::note(std::string_view line) {
    constexpr size_t kept = 3;
    constexpr size_t longest = 300;
    if (!innermost) {
        return false;
    }
    innermost->lines_.emplace_back(line.substr(0, longest));
    if (innermost->lines_.size() > kept) {
        innermost->lines_.pop_front();
    }
    return innermost->expected_;
}

}  // namespace vdpa::engine
