// SPDX-License-Identifier: Apache-2.0
#pragma once

/* libopenvswitch's log (vlog). Everything here is thread-safe. */

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ovda_log_level { OVDA_LOG_ERROR, OVDA_LOG_WARN, OVDA_LOG_INFO, OVDA_LOG_DEBUG };

struct ovda_log_module;
struct ovda_log_limit;

/* The module of that name, made if there is none, for the rest of the process's life. `name` is
 * kept by reference. */
struct ovda_log_module *ovda_log_module_get(const char *name);

/* Lets `burst` messages through at once and `per_minute` in the long run. For the rest of the
 * process's life. */
struct ovda_log_limit *ovda_log_limit_create(unsigned int per_minute, unsigned int burst);

bool ovda_log_is_enabled(const struct ovda_log_module *module, enum ovda_log_level level);

/* `limit` may be NULL. The text need not end in a null byte. */
void ovda_log_write(const struct ovda_log_module *module, enum ovda_log_level level,
                    struct ovda_log_limit *limit, const char *text, size_t length);

/* Names the calling thread, for the log and for the system. */
void ovda_log_set_thread_name(const char *name);

#ifdef __cplusplus
}
#endif
