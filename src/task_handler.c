/*-------------------------------------------------------------------------
 *
 * task_handler.c
 *		The function that does the tasks of a kind, found by its name.
 *
 * A handler is a function of one argument, payorder.task_info, that returns
 * json or void.  Its name is kept as text, since a column of type regprocedure
 * keeps pg_upgrade from working, and found again whenever it is called.
 *
 * It is called as its owner, so who defines a kind must not gain by that: the
 * function is the caller's, or one that the caller could call as its owner
 * anyway.  A function that has another owner since then is not called: it was
 * not this one's to lend.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "compat.h"
#include "task_handler.h"

static Oid
argument_type(void)
{
	Oid			schema = get_namespace_oid("payorder", false);

	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("task_info"),
						   ObjectIdGetDatum(schema));
}

static List *
split_name(const char *name)
{
	List	   *names = payorder_qualified_names(name);

	if (list_length(names) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of a handler has its schema"),
				 errhint("Give it as schema.function, without arguments.")));
	return names;
}

static void
no_handler(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function %s(payorder.task_info) does not exist", name),
			 errhint("A handler is a function of one argument of type payorder.task_info that returns json or void.")));
}

static void
check_form(Form_pg_proc function, const char *name)
{
	const char *problem = NULL;

	if (function->prokind != PROKIND_FUNCTION)
		problem = "is not a plain function";
	else if (function->proretset)
		problem = "returns a set";
	else if (function->prorettype != JSONOID &&
			 function->prorettype != VOIDOID)
		problem = "does not return json or void";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("function %s(payorder.task_info) %s", name, problem),
				 errhint("A handler is a function of one argument of type payorder.task_info that returns json or void.")));
}

static HeapTuple
find(const char *name)
{
	Oid			type = argument_type();
	Oid			function = LookupFuncName(split_name(name), 1, &type, true);
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		no_handler(name);
	check_form((Form_pg_proc) GETSTRUCT(tuple), name);
	return tuple;
}

static void
check_lender(Form_pg_proc function, const char *name)
{
	if (isAnyTempNamespace(function->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a temporary function cannot be a handler"),
				 errhint("Create it in a schema.")));
	if (payorder_owns_function(function->oid, GetUserId()) ||
		(function->prosecdef &&
		 payorder_may_execute(function->oid, GetUserId())))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of function %s(payorder.task_info)", name),
			 errhint("It runs as its owner: define the kind as that role, or name a SECURITY DEFINER function that you may execute.")));
}

/* The handler of that name, if it is the current user's to lend. */
Handler
payorder_handler_define(const char *name)
{
	HeapTuple	tuple = find(name);
	Form_pg_proc function = (Form_pg_proc) GETSTRUCT(tuple);
	Handler		handler;

	check_lender(function, name);
	handler.name =
		quote_qualified_identifier(get_namespace_name(function->pronamespace),
								   NameStr(function->proname));
	handler.owner = GetUserNameFromId(function->proowner, false);
	ReleaseSysCache(tuple);
	return handler;
}

/* The function of a handler; an error if it is not what was defined. */
HandlerFunction
payorder_handler_find(const Handler *handler)
{
	HeapTuple	tuple = find(handler->name);
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	HandlerFunction function;
	const char *owner = GetUserNameFromId(form->proowner, true);

	if (owner == NULL || strcmp(owner, handler->owner) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s(payorder.task_info) is not owned by \"%s\" any more",
						handler->name, handler->owner),
				 errhint("Its owner can define the kind again, with define_task_kind().")));
	function.function = form->oid;
	function.owner = form->proowner;
	function.returns_json = form->prorettype == JSONOID;
	ReleaseSysCache(tuple);
	return function;
}
