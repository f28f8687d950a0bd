/*-------------------------------------------------------------------------
 *
 * caught.c
 *		Work in a subtransaction of its own, and what becomes of its error.
 *
 * Which of the four to use depends on what the caller would do without the
 * error: payorder_isolated() for one unit of many, payorder_contained() for a
 * sweep, payorder_guarded() where the absence of an error is taken for an
 * acknowledgement, payorder_caught() for everything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "relation.h"

static bool
has_class(int sqlstate, const char *class)
{
	return ERRCODE_TO_CATEGORY(sqlstate) ==
		MAKE_SQLSTATE(class[0], class[1], '0', '0', '0');
}

/*
 * Whether an error says that the server failed, rather than the work: SQLSTATE
 * classes 40, 53, 57 and 58.
 */
bool
payorder_is_server_failure(int sqlstate)
{
	return has_class(sqlstate, "40") || has_class(sqlstate, "53") ||
		has_class(sqlstate, "57") || has_class(sqlstate, "58");
}

/*
 * Whether an error tells nothing against the work: the server failed, or has a
 * bug.  Tried again later, the work may well be done.
 */
bool
payorder_may_pass(const ErrorData *error)
{
	return payorder_is_server_failure(error->sqlerrcode) ||
		has_class(error->sqlerrcode, "XX");
}

/* What nobody is asked to decide is seen in the log at least. */
void
payorder_warn_put_off(const char *what, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not do what is due for %s", what),
			 errdetail("An error with SQLSTATE %s was raised.",
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It is tried again in a minute.")));
}

/*
 * Whether the transaction is to end: this process was told to cancel, which
 * only the server's own function says (a user's trigger may raise whatever it
 * likes), or its snapshot is too old for what it does.
 */
static bool
ends_transaction(const ErrorData *error)
{
	if (has_class(error->sqlerrcode, "40"))
		return IsolationUsesXactSnapshot();
	return has_class(error->sqlerrcode, "57") && error->funcname != NULL &&
		strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/*
 * Runs some work in a subtransaction.  Returns NULL, or the error after which
 * all of the work is undone, whatever it is.
 */
ErrorData *
payorder_caught(GuardedWork work, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Runs some work in a subtransaction and returns its error, NULL for none;
 * failures of the server are raised on.  For one unit of many, whose failure
 * must not stop the others.
 */
ErrorData *
payorder_isolated(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_caught(work, argument);

	if (error != NULL && payorder_is_server_failure(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/*
 * The same for a sweep, which whatever one unit raises must not end: only what
 * ends the transaction is raised on.  The caller asks payorder_may_pass()
 * before it gives a unit up.
 */
ErrorData *
payorder_contained(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_caught(work, argument);

	if (error != NULL && ends_transaction(error))
		ReThrowError(error);
	return error;
}

/*
 * The same, but internal errors (class XX) are raised on, too: for a caller
 * who would take the error's absence for an acknowledgement.
 */
ErrorData *
payorder_guarded(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_isolated(work, argument);

	if (error != NULL && has_class(error->sqlerrcode, "XX"))
		ReThrowError(error);
	return error;
}

/*
 * Does something as the owner of a function and under a pinned path, as a
 * SECURITY DEFINER function would.  An error's rollback undoes both.
 */
void
payorder_as_owner(Oid function, OwnersWork work, void *argument)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	int			nest_level = NewGUCNestLevel();
	Oid			owner;
	Oid			user;
	int			context;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	work(argument);
	AtEOXact_GUC(true, nest_level);
	SetUserIdAndSecContext(user, context);
}
