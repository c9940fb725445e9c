// SPDX-License-Identifier: Apache-2.0
#pragma once

/* libopenvswitch's main loop and its control socket (unixctl, what ovs-appctl talks to). */

#ifdef __cplusplus
extern "C" {
#endif

/* Each makes the next ovda_loop_block() of this thread end: when the descriptor is readable, at
 * once, or after that many milliseconds. */
void ovda_loop_wait_readable(int fd);
void ovda_loop_wait_none(void);
void ovda_loop_wait_ms(long long int milliseconds);
/* Waits for one of them, or for a signal that ends the process. */
void ovda_loop_block(void);

struct ovda_control;      /* A listening control socket and its connections. */
struct ovda_control_conn; /* A request that is to be answered exactly once. */

/* `path` as --unixctl takes it; empty: the default. Returns 0 or a positive errno value that has
 * been printed already. */
int ovda_control_create(const char *path, struct ovda_control **control);
/* Closes the connections: requests that were not answered before are lost, and their
 * ovda_control_conn must not be used any more. */
void ovda_control_destroy(struct ovda_control *control);
void ovda_control_run(struct ovda_control *control);
void ovda_control_wait(struct ovda_control *control);

/* `args` has `n` elements, the command's name not among them. Must not throw. */
typedef void ovda_command_handler(void *aux, struct ovda_control_conn *conn, int n,
                                  const char *const args[]);
/* For the rest of the process's life; name and usage are kept by reference. A name may be
 * registered once. */
void ovda_control_register(const char *name, const char *usage, int min, int max,
                           ovda_command_handler *handler, void *aux);

/* Any time after the request came in: the library frees a connection on which a request is being
 * processed only in ovda_control_destroy(). */
void ovda_control_reply(struct ovda_control_conn *conn, int ok, const char *text);

#ifdef __cplusplus
}
#endif
