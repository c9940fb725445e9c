// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/shim/loop.h"

#include <config.h>
#include <poll.h>
#include <stdlib.h>

#include "openvswitch/poll-loop.h"
#include "unixctl.h"
#include "util.h"

void ovda_loop_wait_readable(int fd) {
    poll_fd_wait(fd, POLLIN);
}

void ovda_loop_wait_none(void) {
    poll_immediate_wake();
}

void ovda_loop_wait_ms(long long int milliseconds) {
    poll_timer_wait(milliseconds);
}

void ovda_loop_block(void) {
    poll_block();
}

/* The library's types are used directly, under names of ours. */
static struct unixctl_server *server(struct ovda_control *control) {
    return (struct unixctl_server *)control;
}

int ovda_control_create(const char *path, struct ovda_control **control) {
    struct unixctl_server *created;
    const int error = unixctl_server_create(path[0] ? path : NULL, &created);

    *control = (struct ovda_control *)created;
    return error;
}

void ovda_control_destroy(struct ovda_control *control) {
    unixctl_server_destroy(server(control));
}

void ovda_control_run(struct ovda_control *control) {
    unixctl_server_run(server(control));
}

void ovda_control_wait(struct ovda_control *control) {
    unixctl_server_wait(server(control));
}

struct registration {
    ovda_command_handler *handler;
    void *aux;
};

static void dispatch(struct unixctl_conn *conn, int argc, const char *argv[], void *registration_) {
    const struct registration *registration = registration_;

    registration->handler(registration->aux, (struct ovda_control_conn *)conn, argc - 1, argv + 1);
}

void ovda_control_register(const char *name, const char *usage, int min, int max,
                           ovda_command_handler *handler, void *aux) {
    struct registration *registration = xmalloc(sizeof *registration);

    registration->handler = handler;
    registration->aux = aux;
    unixctl_command_register(name, usage, min, max, dispatch, registration);
}

void ovda_control_reply(struct ovda_control_conn *conn, int ok, const char *text) {
    if (ok) {
        unixctl_command_reply((struct unixctl_conn *)conn, text);
    } else {
        unixctl_command_reply_error((struct unixctl_conn *)conn, text);
    }
}
