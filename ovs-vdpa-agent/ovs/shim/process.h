// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What OVS's daemons do between main() and their main loop. All of it before any thread exists,
 * but for ovda_process_startup_complete(). */

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ovda_options {
    char *database;           /* Never NULL; to be freed with free(). */
    const char *unixctl_path; /* NULL: not given. Lasts as long as the process. */
};

/* Prints and exits for --help, --version and anything wrong. `on_engine` is called with the
 * absolute path of each --engine and must not throw; `default_engine` is for the usage text. */
struct ovda_options ovda_process_parse(int argc, char *argv[], const char *default_engine,
                                       void (*on_engine)(void *aux, const char *path), void *aux);

void ovda_process_daemonize_start(void);
/* On the thread that runs the main loop. */
void ovda_process_startup_complete(void);

/* Whether SIGTERM or SIGINT arrived after ovda_process_daemonize_start(). A second one kills. */
bool ovda_process_stop_requested(void);
/* Readable from then on; -1 before ovda_process_daemonize_start(). */
int ovda_process_stop_fd(void);

const char *ovda_process_run_dir(void);

#ifdef __cplusplus
}
#endif
