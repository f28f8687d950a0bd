/*-------------------------------------------------------------------------
 *
 * compat.h
 *		What differs between the server's versions, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_COMPAT_H
#define PAYORDER_COMPAT_H

#include "access/tableam.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#if PG_VERSION_NUM < 150000
#error "payorder needs PostgreSQL 15 or newer"
#endif

/* JSON semantic actions return a result since 16. */
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType JsonActionResult;
#define JSON_ACTION_DONE		return JSON_SUCCESS
#else
typedef void JsonActionResult;
#define JSON_ACTION_DONE		return
#endif

/* The lexer may live on the caller's stack since 17. */
#if PG_VERSION_NUM >= 170000
#define payorder_json_lexer(text, length) \
	makeJsonLexContextCstringLen(NULL, (text), (length), GetDatabaseEncoding(), true)
#else
#define payorder_json_lexer(text, length) \
	makeJsonLexContextCstringLen((text), (length), GetDatabaseEncoding(), true)
#endif

/* One function asks about all kinds of objects since 16. */
#if PG_VERSION_NUM >= 160000
#define payorder_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#define payorder_owns_extension(extension, role) \
	object_ownercheck(ExtensionRelationId, (extension), (role))
#else
#define payorder_owns_database(database, role) \
	pg_database_ownercheck((database), (role))
#define payorder_owns_extension(extension, role) \
	pg_extension_ownercheck((extension), (role))
#endif

/* Extensions name their wait events, and transactions can time out, since 17. */
#if PG_VERSION_NUM >= 170000
#define payorder_new_wait_event(name)	WaitEventExtensionNew(name)
#define PAYORDER_HAS_TRANSACTION_TIMEOUT
#else
#define payorder_new_wait_event(name)	PG_WAIT_EXTENSION
#endif

#if PG_VERSION_NUM >= 160000
#define payorder_owns_function(function, role) \
	object_ownercheck(ProcedureRelationId, (function), (role))
#define payorder_may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, (function), (role), \
					 ACL_EXECUTE) == ACLCHECK_OK)
#else
#define payorder_owns_function(function, role) \
	pg_proc_ownercheck((function), (role))
#define payorder_may_execute(function, role) \
	(pg_proc_aclcheck((function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* Names can be split without an error being raised since 16. */
#if PG_VERSION_NUM >= 160000
#define payorder_qualified_names(name) \
	stringToQualifiedNameList((name), NULL)
#else
#define payorder_qualified_names(name) \
	stringToQualifiedNameList(name)
#endif

/* An index scan can be instrumented since 18. */
#if PG_VERSION_NUM >= 180000
#define payorder_index_beginscan(heap, index, snapshot, keys) \
	index_beginscan((heap), (index), (snapshot), NULL, (keys), 0)
#else
#define payorder_index_beginscan(heap, index, snapshot, keys) \
	index_beginscan((heap), (index), (snapshot), (keys), 0)
#endif

/* One function asks who owns whatever since 16. */
#if PG_VERSION_NUM >= 160000
#define payorder_owns_relation(relation, role) \
	object_ownercheck(RelationRelationId, (relation), (role))
#else
#define payorder_owns_relation(relation, role) \
	pg_class_ownercheck((relation), (role))
#endif

/*
 * Compiled CHECK constraints have another name since 18, which also has
 * constraints that are not enforced and columns that are computed when read.
 */
#if PG_VERSION_NUM >= 180000
#define payorder_check_exprs(info)	((info)->ri_CheckConstraintExprs)
#define payorder_check_enforced(check)	((check)->ccenforced)
#define payorder_has_virtual_columns(constraints) \
	((constraints)->has_generated_virtual)
#else
#define payorder_check_exprs(info)	((info)->ri_ConstraintExprs)
#define payorder_check_enforced(check)	true
#define payorder_has_virtual_columns(constraints)	false
#endif

/* Which indexes an update touches is more than yes or no since 16. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes UpdatedIndexes;
#define payorder_updates_indexes(updated)	((updated) != TU_None)
#define payorder_insert_index_tuples(info, slot, estate, update, no_error, conflict, arbiters, updated) \
	ExecInsertIndexTuples((info), (slot), (estate), (update), (no_error), \
						  (conflict), (arbiters), (updated) == TU_Summarizing)
#define NO_INDEX_UPDATED	TU_None
#else
typedef bool UpdatedIndexes;
#define payorder_updates_indexes(updated)	(updated)
#define payorder_insert_index_tuples(info, slot, estate, update, no_error, conflict, arbiters, updated) \
	ExecInsertIndexTuples((info), (slot), (estate), (update), (no_error), \
						  (conflict), (arbiters))
#define NO_INDEX_UPDATED	false
#endif

/* Access methods end a row of inserts since 17. */
#if PG_VERSION_NUM >= 170000
#define payorder_index_insert_cleanup(index, info) \
	index_insert_cleanup((index), (info))
#else
#define payorder_index_insert_cleanup(index, info)	((void) 0)
#endif

/* The probe for a conflict can pass over a row of one's own since 18. */
#if PG_VERSION_NUM >= 180000
#define payorder_check_index_constraints(info, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints((info), (slot), (estate), (conflict), NULL, (arbiters))
#else
#define payorder_check_index_constraints(info, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints((info), (slot), (estate), (conflict), (arbiters))
#endif

#endif							/* PAYORDER_COMPAT_H */
