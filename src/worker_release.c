/*-------------------------------------------------------------------------
 *
 * worker_release.c
 *		Lets go of a database that is to be dropped, copied, renamed or moved,
 *		and of an extension that is to be updated.
 *
 * Such a command fails while anybody is connected to the database, and waits
 * only some seconds for others to leave.  Where the library is preloaded, the
 * worker is told before it begins and the launcher starts no other until it
 * has ended.  Who may not do such a thing to the database changes nothing.
 *
 * ALTER EXTENSION locks tables in the order of its script, which a sweep does
 * not know: it first takes the extension's lock, as DROP EXTENSION does, and
 * so waits for the end of the worker's sweep and holds the next one up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"

#include "compat.h"
#include "wake.h"
#include "worker.h"

static ProcessUtility_hook_type previous_utility = NULL;

static const char *
text_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that a command needs for itself; NULL: none. */
static const char *
database_needed(const Node *command)
{
	if (IsA(command, DropdbStmt))
		return ((const DropdbStmt *) command)->dbname;
	if (IsA(command, CreatedbStmt))
		return text_option(((const CreatedbStmt *) command)->options,
						   "template");
	if (IsA(command, RenameStmt) &&
		((const RenameStmt *) command)->renameType == OBJECT_DATABASE)
		return ((const RenameStmt *) command)->subname;
	if (IsA(command, AlterDatabaseStmt) &&
		text_option(((const AlterDatabaseStmt *) command)->options,
					"tablespace") != NULL)
		return ((const AlterDatabaseStmt *) command)->dbname;
	return NULL;
}

static bool
is_own(const char *database)
{
	Oid			oid = get_database_oid(database, true);

	return OidIsValid(oid) && oid != MyDatabaseId &&
		payorder_owns_database(oid, GetUserId());
}

/* Holds up the worker's sweeps until the end of the transaction. */
static void
hold_up_sweeps(const AlterExtensionStmt *command)
{
	Oid			oid = InvalidOid;

	if (strcmp(command->extname, "payorder") == 0)
		oid = get_extension_oid("payorder", true);
	if (OidIsValid(oid) && payorder_owns_extension(oid, GetUserId()))
		LockDatabaseObject(ExtensionRelationId, oid, 0, AccessExclusiveLock);
}

static void
go_on(PlannedStmt *statement, const char *text, bool read_only_tree,
	  ProcessUtilityContext context, ParamListInfo parameters,
	  QueryEnvironment *environment, DestReceiver *receiver,
	  QueryCompletion *completion)
{
	if (previous_utility != NULL)
		previous_utility(statement, text, read_only_tree, context, parameters,
						 environment, receiver, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context,
								parameters, environment, receiver, completion);
}

static void
utility(PlannedStmt *statement, const char *text, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo parameters,
		QueryEnvironment *environment, DestReceiver *receiver,
		QueryCompletion *completion)
{
	const char *database = database_needed(statement->utilityStmt);

	if (IsA(statement->utilityStmt, AlterExtensionStmt))
		hold_up_sweeps((AlterExtensionStmt *) statement->utilityStmt);
	if (database == NULL || !is_own(database))
	{
		go_on(statement, text, read_only_tree, context, parameters,
			  environment, receiver, completion);
		return;
	}
	payorder_wake_let_go(database, get_database_oid(database, true));
	PG_TRY();
	{
		go_on(statement, text, read_only_tree, context, parameters,
			  environment, receiver, completion);
	}
	PG_FINALLY();
	{
		payorder_wake_take_up();
	}
	PG_END_TRY();
}

/* Called while the postmaster loads the library. */
void
payorder_worker_release_register(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
