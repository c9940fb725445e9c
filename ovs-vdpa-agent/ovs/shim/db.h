// SPDX-License-Identifier: Apache-2.0
#pragma once

/* libopenvswitch's replica of the database (OVSDB IDL), without its headers: those do not compile
 * as C++. One thread uses a database and everything obtained from it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ovda_uuid {
    uint32_t parts[4];
};

struct ovda_db;  /* A replica and at most one transaction. */
struct ovda_row; /* Valid until the next ovda_db_run(), as is all that is read from it. */
struct ovda_map; /* A column of string pairs of a row. */

enum ovda_table { OVDA_INTERFACE, OVDA_PORT, OVDA_BRIDGE, OVDA_GLOBAL };

/* Starts replicating `remote`, as ovsdb(7) describes remotes, and asks for the lock `lock_name`.
 * Connects, and connects again, in ovda_db_run(). */
struct ovda_db *ovda_db_create(const char *remote, const char *lock_name);
void ovda_db_destroy(struct ovda_db *db);

/* Forgets which rows are tracked as changed, receives, and tracks what that changed. */
void ovda_db_run(struct ovda_db *db);
/* Makes the next ovda_loop_block() end when there is something to receive. */
void ovda_db_wait(struct ovda_db *db);

bool ovda_db_is_connected(const struct ovda_db *db);
bool ovda_db_has_lock(const struct ovda_db *db);
bool ovda_db_is_lock_contended(const struct ovda_db *db);
/* 0 until the database has been read for the first time. Differs when anything may have changed,
 * and when the lock was obtained. */
unsigned int ovda_db_seqno(const struct ovda_db *db);

/* Rows of a table in no particular order; NULL at the end. With `tracked`, only rows changed by the
 * last ovda_db_run(), deleted ones among them. After the database was read anew, every row is
 * tracked as inserted, and no row as deleted. */
const struct ovda_row *ovda_db_first(const struct ovda_db *db, enum ovda_table table, bool tracked);
const struct ovda_row *ovda_row_next(const struct ovda_row *row, bool tracked);
const struct ovda_row *ovda_db_find_uuid(const struct ovda_db *db, enum ovda_table table,
                                         struct ovda_uuid uuid);
const struct ovda_row *ovda_db_find_interface(const struct ovda_db *db, const char *name);

/* Of a tracked row. A row that was inserted and deleted at once is both. */
bool ovda_row_is_inserted(const struct ovda_row *row);
bool ovda_row_is_deleted(const struct ovda_row *row);

struct ovda_uuid ovda_row_uuid(const struct ovda_row *row);

/* Strings are never NULL. A deleted row has no readable strings and maps. */
struct ovda_interface {
    const char *name;
    const char *type;
    const char *link_state;
    const char *error;
    const int64_t *mtu;         /* NULL: not set. */
    const int64_t *mtu_request; /* NULL: not set. */
    const int64_t *ofport;      /* NULL: not set. */
    const struct ovda_map *options;
    const struct ovda_map *external_ids;
};
struct ovda_interface ovda_interface_read(const struct ovda_row *row);
bool ovda_interface_external_ids_updated(const struct ovda_row *row);

size_t ovda_port_n_interfaces(const struct ovda_row *row);
struct ovda_uuid ovda_port_interface(const struct ovda_row *row, size_t index);
bool ovda_port_interfaces_updated(const struct ovda_row *row);

const char *ovda_bridge_name(const struct ovda_row *row);
const char *ovda_bridge_datapath_type(const struct ovda_row *row);
/* Of a tracked row: whether one of these two may have changed. */
bool ovda_bridge_settings_updated(const struct ovda_row *row);
/* In time that grows with the logarithm of the number of ports. */
bool ovda_bridge_has_port(const struct ovda_row *row, struct ovda_uuid port);

const struct ovda_map *ovda_global_other_config(const struct ovda_row *row);
const struct ovda_map *ovda_global_external_ids(const struct ovda_row *row);

/* NULL: no such key. */
const char *ovda_map_get(const struct ovda_map *map, const char *key);
typedef void ovda_map_visitor(void *aux, const char *key, const char *value);
/* The visitor must not throw. */
void ovda_map_visit(const struct ovda_map *map, ovda_map_visitor *visit, void *aux);

enum ovda_commit {
    OVDA_COMMIT_NONE,      /* No transaction is under way. */
    OVDA_COMMIT_PENDING,   /* The server has not answered. */
    OVDA_COMMIT_DONE,      /* Committed, or there was nothing to change. */
    OVDA_COMMIT_TRY_AGAIN, /* Wait for another ovda_db_seqno() than that at the beginning. */
    OVDA_COMMIT_NOT_LOCKED,
    OVDA_COMMIT_ERROR,
};

/* Begins the transaction. There must be none; no ovda_db_run() before ovda_txn_commit(). */
void ovda_txn_begin(struct ovda_db *db);
/* Sets a key of external_ids of an Interface or Open_vSwitch row; value NULL removes it, and the
 * key must be there. Nothing but this key is written or required of the row: other clients' writes
 * to the same column neither fail this transaction nor are undone by it (the "mutate" of RFC 7047,
 * section 5.2.4). */
void ovda_txn_set_external_id(const struct ovda_row *row, const char *key, const char *value);
void ovda_txn_commit(struct ovda_db *db);
/* What became of the transaction. Any answer but PENDING is given once and ends it. `error` is set
 * for OVDA_COMMIT_ERROR and to be freed with free(). */
enum ovda_commit ovda_txn_poll(struct ovda_db *db, char **error);

#ifdef __cplusplus
}
#endif
