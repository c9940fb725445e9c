// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/log.hpp"

#include "ovs-vdpa-agent/ovs/shim/log.h"

namespace vdpa::agent::log {
namespace {

void write(const ovda_log_module *module, ovda_log_level level, ovda_log_limit *limit,
           std::string_view text) {
    ovda_log_write(module, level, limit, text.data(), text.size());
}

}  // namespace

RateLimit::RateLimit(unsigned int per_minute, unsigned int burst)
    : limit_(ovda_log_limit_create(per_minute, burst)) {}

Module::Module(const char *name) : module_(ovda_log_module_get(name)) {}

void Module::error(std::string_view text) const {
    write(module_, OVDA_LOG_ERROR, nullptr, text);
}

void Module::warn(std::string_view text) const {
    write(module_, OVDA_LOG_WARN, nullptr, text);
}

void Module::info(std::string_view text) const {
    write(module_, OVDA_LOG_INFO, nullptr, text);
}

void Module::debug(std::string_view text) const {
    write(module_, OVDA_LOG_DEBUG, nullptr, text);
}

void Module::error(RateLimit &limit, std::string_view text) const {
    write(module_, OVDA_LOG_ERROR, limit.limit_, text);
}

void Module::warn(RateLimit &limit, std::string_view text) const {
    write(module_, OVDA_LOG_WARN, limit.limit_, text);
}

void Module::info(RateLimit &limit, std::string_view text) const {
    write(module_, OVDA_LOG_INFO, limit.limit_, text);
}

bool Module::debug_enabled() const {
    return ovda_log_is_enabled(module_, OVDA_LOG_DEBUG);
}

void set_thread_name(const std::string &name) {
    ovda_log_set_thread_name(name.c_str());
}

}  // namespace vdpa::agent::log
