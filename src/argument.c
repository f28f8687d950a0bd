/*-------------------------------------------------------------------------
 *
 * argument.c
 *		SQL functions of ours: what they check on entry, their arguments, and
 *		the composite value that they return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "relation.h"

/* Entry check of all that writes: SQLSTATE 25006, standbys included. */
void
payorder_prevent_read_only(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
}

/*
 * Entry check of what looks for rows that others may just have committed, and
 * would not see them by an older snapshot: SQLSTATE 25000.
 */
void
payorder_require_read_committed(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("%s works at READ COMMITTED only", function),
				 errhint("Begin the transaction with ISOLATION LEVEL READ COMMITTED.")));
}

char *
payorder_text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

char *
payorder_required_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *text = payorder_text_argument(fcinfo, number);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errhint("Give a value for \"%s\".", name)));
	return text;
}

/* Whether two texts are equal; NULL is equal to NULL only. */
bool
payorder_same_text(const char *left, const char *right)
{
	return left == right ||
		(left != NULL && right != NULL && strcmp(left, right) == 0);
}

/*
 * Whether a text has the form of a number or id: 1 to 128 characters, none of
 * them a control character.
 */
bool
payorder_is_id(const char *text)
{
	int			length = pg_mbstrlen(text);

	if (length < 1 || length > LONGEST_ID)
		return false;
	for (const unsigned char *c = (const unsigned char *) text; *c; c++)
	{
		if (*c < 0x20 || *c == 0x7f)
			return false;
		if (GetDatabaseEncoding() == PG_UTF8 && *c == 0xc2 && c[1] < 0xa0)
			return false;
	}
	return true;
}

/* Forms the composite value that the called function returns. */
Datum
payorder_composite(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	description;

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description),
											 values, nulls));
}

/*
 * The length of an interval in microseconds, false if it is not positive,
 * longer than 366 days, or counts months, which have no fixed length.
 */
bool
payorder_duration(const Interval *interval, int64 *microseconds)
{
	if (interval->month != 0 ||
		interval->day > 366 || interval->day < -366 ||
		interval->time > LONGEST_DURATION || interval->time < -LONGEST_DURATION)
		return false;
	*microseconds = interval->day * USECS_PER_DAY + interval->time;
	return *microseconds > 0 && *microseconds <= LONGEST_DURATION;
}
