// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/shim/log.h"

#include <config.h>
#include <limits.h>
#include <stdlib.h>

#include "openvswitch/vlog.h"
#include "util.h"

static enum vlog_level to_vlog(enum ovda_log_level level) {
    switch (level) {
        case OVDA_LOG_ERROR:
            return VLL_ERR;
        case OVDA_LOG_WARN:
            return VLL_WARN;
        case OVDA_LOG_INFO:
            return VLL_INFO;
        case OVDA_LOG_DEBUG:
            return VLL_DBG;
    }
    OVS_NOT_REACHED();
}

struct ovda_log_module *ovda_log_module_get(const char *name) {
    struct vlog_module *module = vlog_module_from_name(name);

    if (!module) {
        module = xzalloc(sizeof *module);
        module->name = name;
        for (int i = 0; i < VLF_N_DESTINATIONS; i++) {
            module->levels[i] = VLL_INFO;
        }
        module->min_level = VLL_INFO;
        module->honor_rate_limits = true;
        vlog_insert_module(&module->list);
    }
    return (struct ovda_log_module *)module;
}

struct ovda_log_limit *ovda_log_limit_create(unsigned int per_minute, unsigned int burst) {
    struct vlog_rate_limit *limit = xmalloc(sizeof *limit);

    *limit = (struct vlog_rate_limit)VLOG_RATE_LIMIT_INIT(per_minute, burst);
    return (struct ovda_log_limit *)limit;
}

bool ovda_log_is_enabled(const struct ovda_log_module *module, enum ovda_log_level level) {
    return vlog_is_enabled((const struct vlog_module *)module, to_vlog(level));
}

void ovda_log_write(const struct ovda_log_module *module_, enum ovda_log_level level_,
                    struct ovda_log_limit *limit, const char *text, size_t length) {
    const struct vlog_module *module = (const struct vlog_module *)module_;
    const enum vlog_level level = to_vlog(level_);
    const int printed = length < INT_MAX ? (int)length : INT_MAX;

    if (!vlog_is_enabled(module, level)) {
        return;
    }
    if (limit) {
        vlog_rate_limit(module, level, (struct vlog_rate_limit *)limit, "%.*s", printed, text);
    } else {
        vlog(module, level, "%.*s", printed, text);
    }
}

void ovda_log_set_thread_name(const char *name) {
    set_subprogram_name(name);
}
