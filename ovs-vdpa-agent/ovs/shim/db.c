// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/shim/db.h"

#include <config.h>
#include <stdlib.h>

#include "openvswitch/util.h"
#include "ovsdb-idl.h"
#include "smap.h"
#include "util.h"
#include "uuid.h"
#include "vswitch-subset-idl.h"

struct ovda_db {
    struct ovsdb_idl *idl;
    struct ovsdb_idl_index *interface_by_name;
    struct ovsdb_idl_txn *txn;
};

/* Rows and maps are the library's own under another name. */
static const struct ovsdb_idl_row *idl_row(const struct ovda_row *row) {
    return (const struct ovsdb_idl_row *)row;
}

static const struct ovda_row *shim_row(const struct ovsdb_idl_row *row) {
    return (const struct ovda_row *)row;
}

/* Each record of the generated code begins with its row. */
#define RECORD(TYPE, ROW) ((const struct TYPE *)CONTAINER_OF(idl_row(ROW), struct TYPE, header_))

static const struct ovda_map *shim_map(const struct smap *map) {
    return (const struct ovda_map *)map;
}

static struct ovda_uuid to_shim_uuid(const struct uuid *uuid) {
    return (struct ovda_uuid){
        .parts = {uuid->parts[0], uuid->parts[1], uuid->parts[2], uuid->parts[3]}};
}

static struct uuid to_idl_uuid(struct ovda_uuid uuid) {
    return (struct uuid){.parts = {uuid.parts[0], uuid.parts[1], uuid.parts[2], uuid.parts[3]}};
}

static const struct ovsdb_idl_table_class *table_class(enum ovda_table table) {
    switch (table) {
        case OVDA_INTERFACE:
            return &vdparec_table_interface;
        case OVDA_PORT:
            return &vdparec_table_port;
        case OVDA_BRIDGE:
            return &vdparec_table_bridge;
        case OVDA_GLOBAL:
            return &vdparec_table_open_vswitch;
    }
    OVS_NOT_REACHED();
}

struct ovda_db *ovda_db_create(const char *remote, const char *lock_name) {
    struct ovda_db *db = xzalloc(sizeof *db);

    db->idl = ovsdb_idl_create_unconnected(&vdparec_idl_class, true);
    ovsdb_idl_track_add_all(db->idl);
    db->interface_by_name = ovsdb_idl_index_create1(db->idl, &vdparec_interface_col_name);
    ovsdb_idl_set_lock(db->idl, lock_name);
    ovsdb_idl_set_remote(db->idl, remote, true);
    return db;
}

void ovda_db_destroy(struct ovda_db *db) {
    if (db) {
        if (db->txn) {
            ovsdb_idl_txn_destroy(db->txn);
        }
        ovsdb_idl_destroy(db->idl);
        free(db);
    }
}

void ovda_db_run(struct ovda_db *db) {
    ovsdb_idl_track_clear(db->idl);
    ovsdb_idl_run(db->idl);
}

void ovda_db_wait(struct ovda_db *db) {
    ovsdb_idl_wait(db->idl);
    if (db->txn) {
        /* A transaction that could not even be sent has its result without receiving anything. */
        ovsdb_idl_txn_wait(db->txn);
    }
}

bool ovda_db_is_connected(const struct ovda_db *db) {
    return ovsdb_idl_is_connected(db->idl);
}

bool ovda_db_has_lock(const struct ovda_db *db) {
    return ovsdb_idl_has_lock(db->idl);
}

bool ovda_db_is_lock_contended(const struct ovda_db *db) {
    return ovsdb_idl_is_lock_contended(db->idl);
}

unsigned int ovda_db_seqno(const struct ovda_db *db) {
    return ovsdb_idl_get_seqno(db->idl);
}

const struct ovda_row *ovda_db_first(const struct ovda_db *db, enum ovda_table table,
                                     bool tracked) {
    return shim_row(tracked ? ovsdb_idl_track_get_first(db->idl, table_class(table))
                            : ovsdb_idl_first_row(db->idl, table_class(table)));
}

const struct ovda_row *ovda_row_next(const struct ovda_row *row, bool tracked) {
    return shim_row(tracked ? ovsdb_idl_track_get_next(idl_row(row))
                            : ovsdb_idl_next_row(idl_row(row)));
}

const struct ovda_row *ovda_db_find_uuid(const struct ovda_db *db, enum ovda_table table,
                                         struct ovda_uuid uuid) {
    const struct uuid id = to_idl_uuid(uuid);

    return shim_row(ovsdb_idl_get_row_for_uuid(db->idl, table_class(table), &id));
}

const struct ovda_row *ovda_db_find_interface(const struct ovda_db *db, const char *name) {
    struct vdparec_interface *key = vdparec_interface_index_init_row(db->interface_by_name);
    vdparec_interface_index_set_name(key, name);
    const struct vdparec_interface *found =
        vdparec_interface_index_find(db->interface_by_name, key);
    vdparec_interface_index_destroy_row(key);
    return found ? shim_row(&found->header_) : NULL;
}

bool ovda_row_is_inserted(const struct ovda_row *row) {
    return ovsdb_idl_row_get_seqno(idl_row(row), OVSDB_IDL_CHANGE_INSERT) > 0;
}

bool ovda_row_is_deleted(const struct ovda_row *row) {
    return ovsdb_idl_row_get_seqno(idl_row(row), OVSDB_IDL_CHANGE_DELETE) > 0;
}

struct ovda_uuid ovda_row_uuid(const struct ovda_row *row) {
    return to_shim_uuid(&idl_row(row)->uuid);
}

struct ovda_interface ovda_interface_read(const struct ovda_row *row) {
    const struct vdparec_interface *record = RECORD(vdparec_interface, row);

    return (struct ovda_interface){
        .name = record->name,
        .type = record->type,
        .link_state = record->link_state ? record->link_state : "",
        .error = record->error ? record->error : "",
        .mtu = record->n_mtu ? record->mtu : NULL,
        .mtu_request = record->n_mtu_request ? record->mtu_request : NULL,
        .ofport = record->n_ofport ? record->ofport : NULL,
        .options = shim_map(&record->options),
        .external_ids = shim_map(&record->external_ids),
    };
}

bool ovda_interface_external_ids_updated(const struct ovda_row *row) {
    return ovsdb_idl_track_is_updated(idl_row(row), &vdparec_interface_col_external_ids);
}

size_t ovda_port_n_interfaces(const struct ovda_row *row) {
    return RECORD(vdparec_port, row)->n_interfaces;
}

struct ovda_uuid ovda_port_interface(const struct ovda_row *row, size_t index) {
    return to_shim_uuid(&RECORD(vdparec_port, row)->interfaces[index]);
}

bool ovda_port_interfaces_updated(const struct ovda_row *row) {
    return ovsdb_idl_track_is_updated(idl_row(row), &vdparec_port_col_interfaces);
}

const char *ovda_bridge_name(const struct ovda_row *row) {
    return RECORD(vdparec_bridge, row)->name;
}

const char *ovda_bridge_datapath_type(const struct ovda_row *row) {
    return RECORD(vdparec_bridge, row)->datapath_type;
}

bool ovda_bridge_settings_updated(const struct ovda_row *row) {
    return ovsdb_idl_track_is_updated(idl_row(row), &vdparec_bridge_col_name) ||
           ovsdb_idl_track_is_updated(idl_row(row), &vdparec_bridge_col_datapath_type);
}

static int compare_uuids(const void *a, const void *b) {
    return uuid_compare_3way(a, b);
}

bool ovda_bridge_has_port(const struct ovda_row *row, struct ovda_uuid port) {
    /* The generated parser copies the column's atoms in their order, which is that of
     * uuid_compare_3way() (ovsdb_datum_sort_unique() and ovsdb_datum_apply_diff_in_place() in
     * lib/ovsdb-data.c keep it). */
    const struct vdparec_bridge *record = RECORD(vdparec_bridge, row);
    const struct uuid id = to_idl_uuid(port);

    return record->n_ports &&
           bsearch(&id, record->ports, record->n_ports, sizeof *record->ports, compare_uuids);
}

const struct ovda_map *ovda_global_other_config(const struct ovda_row *row) {
    return shim_map(&RECORD(vdparec_open_vswitch, row)->other_config);
}

const struct ovda_map *ovda_global_external_ids(const struct ovda_row *row) {
    return shim_map(&RECORD(vdparec_open_vswitch, row)->external_ids);
}

const char *ovda_map_get(const struct ovda_map *map, const char *key) {
    return smap_get((const struct smap *)map, key);
}

void ovda_map_visit(const struct ovda_map *map, ovda_map_visitor *visit, void *aux) {
    const struct smap_node *node;

    SMAP_FOR_EACH(node, (const struct smap *)map) {
        visit(aux, node->key, node->value);
    }
}

void ovda_txn_begin(struct ovda_db *db) {
    ovs_assert(!db->txn);
    db->txn = ovsdb_idl_txn_create(db->idl);
    ovsdb_idl_txn_add_comment(db->txn, "%s", program_name);
}

void ovda_txn_set_external_id(const struct ovda_row *row, const char *key, const char *value) {
    if (idl_row(row)->table->class_ == &vdparec_table_interface) {
        const struct vdparec_interface *record = RECORD(vdparec_interface, row);
        if (value) {
            vdparec_interface_update_external_ids_setkey(record, key, value);
        } else {
            vdparec_interface_update_external_ids_delkey(record, key);
        }
    } else {
        const struct vdparec_open_vswitch *record = RECORD(vdparec_open_vswitch, row);
        if (value) {
            vdparec_open_vswitch_update_external_ids_setkey(record, key, value);
        } else {
            vdparec_open_vswitch_update_external_ids_delkey(record, key);
        }
    }
}

void ovda_txn_commit(struct ovda_db *db) {
    ovsdb_idl_txn_commit(db->txn);
}

enum ovda_commit ovda_txn_poll(struct ovda_db *db, char **error) {
    *error = NULL;
    if (!db->txn) {
        return OVDA_COMMIT_NONE;
    }

    enum ovda_commit result = OVDA_COMMIT_ERROR;
    switch (ovsdb_idl_txn_commit(db->txn)) {
        case TXN_UNCOMMITTED:
        case TXN_INCOMPLETE:
            return OVDA_COMMIT_PENDING;
        case TXN_UNCHANGED:
        case TXN_SUCCESS:
            result = OVDA_COMMIT_DONE;
            break;
        case TXN_TRY_AGAIN:
            result = OVDA_COMMIT_TRY_AGAIN;
            break;
        case TXN_NOT_LOCKED:
            result = OVDA_COMMIT_NOT_LOCKED;
            break;
        case TXN_ABORTED:
        case TXN_ERROR:
            *error = xstrdup(ovsdb_idl_txn_get_error(db->txn));
            break;
    }
    ovsdb_idl_txn_destroy(db->txn);
    db->txn = NULL;
    return result;
}
