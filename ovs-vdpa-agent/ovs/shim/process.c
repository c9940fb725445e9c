// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/shim/process.h"

#include <config.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "command-line.h"
#include "daemon.h"
#include "dirs.h"
#include "fatal-signal.h"
#include "latch.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "stream-ssl.h"
#include "stream.h"
#include "util.h"

static struct latch stop_latch = {{-1, -1}};

OVS_NO_RETURN static void usage(const char *default_engine) {
    printf(
        "%s: makes vDPA ports of Open vSwitch Interface rows\n"
        "usage: %s [OPTIONS] [DATABASE]\n"
        "where DATABASE is a socket on which ovsdb-server is listening\n"
        "      (default: \"unix:%s/db.sock\").\n",
        program_name, program_name, ovs_rundir());
    stream_usage("DATABASE", true, false, true);
    printf(
        "\nEngine options:\n"
        "  --engine=SOCKET         RPC socket of an ovs-vdpa-engine; may be repeated\n"
        "                          (default: %s)\n",
        default_engine);
    daemon_usage();
    vlog_usage();
    printf(
        "\nOther options:\n"
        "  --unixctl=SOCKET        override default control socket name\n"
        "  -h, --help              display this help message\n"
        "  -V, --version           display version information\n");
    exit(EXIT_SUCCESS);
}

static char *engine_path(const char *given) {
    const size_t longest = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;

    if (!given[0]) {
        ovs_fatal(0, "--engine: SOCKET is empty; use --help for usage");
    }
    /* Made absolute now, because --detach changes to the root directory. */
    char *path = abs_file_name(NULL, given);
    if (strlen(path) > longest) {
        ovs_fatal(0, "--engine=%s: a socket's path has at most %" PRIuSIZE " bytes", given,
                  longest);
    }
    return path;
}

struct ovda_options ovda_process_parse(int argc, char *argv[], const char *default_engine,
                                       void (*on_engine)(void *aux, const char *path), void *aux) {
    enum {
        OPT_ENGINE = UCHAR_MAX + 1,
        OPT_UNIXCTL,
        OPT_PEER_CA_CERT,
        OPT_BOOTSTRAP_CA_CERT,
        VLOG_OPTION_ENUMS,
        DAEMON_OPTION_ENUMS,
        SSL_OPTION_ENUMS,
    };
    static const struct option long_options[] = {
        {"engine", required_argument, NULL, OPT_ENGINE},
        {"unixctl", required_argument, NULL, OPT_UNIXCTL},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        DAEMON_LONG_OPTIONS,
        VLOG_LONG_OPTIONS,
        STREAM_SSL_LONG_OPTIONS,
        {"peer-ca-cert", required_argument, NULL, OPT_PEER_CA_CERT},
        {"bootstrap-ca-cert", required_argument, NULL, OPT_BOOTSTRAP_CA_CERT},
        {NULL, 0, NULL, 0},
    };
    struct ovda_options options = {NULL, NULL};

    ovs_set_program_name(argv[0], OVDA_VERSION);
    ovsthread_id_init();
    ovs_cmdl_proctitle_init(argc, argv);
    service_start(&argc, &argv);
    fatal_ignore_sigpipe();

    char *short_options = ovs_cmdl_long_options_to_short_options(long_options);
    for (;;) {
        const int c = getopt_long(argc, argv, short_options, long_options, NULL);
        if (c == -1) {
            break;
        }

        switch (c) {
            case OPT_ENGINE: {
                char *path = engine_path(optarg);
                on_engine(aux, path);
                free(path);
                break;
            }

            case OPT_UNIXCTL:
                options.unixctl_path = optarg;
                break;

            case 'h':
                usage(default_engine);

            case 'V':
                ovs_print_version(0, 0);
                exit(EXIT_SUCCESS);

                VLOG_OPTION_HANDLERS
                DAEMON_OPTION_HANDLERS
                STREAM_SSL_OPTION_HANDLERS

            case OPT_PEER_CA_CERT:
                stream_ssl_set_peer_ca_cert_file(optarg);
                break;

            case OPT_BOOTSTRAP_CA_CERT:
                stream_ssl_set_ca_cert_file(optarg, true);
                break;

            case '?':
                exit(EXIT_FAILURE);

            default:
                abort();
        }
    }
    free(short_options);

    switch (argc - optind) {
        case 0:
            options.database = xasprintf("unix:%s/db.sock", ovs_rundir());
            break;

        case 1:
            options.database = xstrdup(argv[optind]);
            break;

        default:
            ovs_fatal(0, "at most one non-option argument accepted; use --help for usage");
    }
    return options;
}

static void on_stop_signal(int signal_number OVS_UNUSED) {
    latch_set(&stop_latch);
}

void ovda_process_daemonize_start(void) {
    /* The capability to manage netdevs is kept when --user drops the others. */
    daemonize_start(true);

    /* Only here: the processes that --detach and --monitor leave behind must die of these signals,
     * and libopenvswitch has installed its own handlers by now. */
    latch_init(&stop_latch);
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

void ovda_process_startup_complete(void) {
    daemonize_complete();
}

bool ovda_process_stop_requested(void) {
    return stop_latch.fds[0] >= 0 && latch_is_set(&stop_latch);
}

int ovda_process_stop_fd(void) {
    return stop_latch.fds[0];
}

const char *ovda_process_run_dir(void) {
    return ovs_rundir();
}
