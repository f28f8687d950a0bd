/*-------------------------------------------------------------------------
 *
 * errors.c
 *		What the messages of all rooms share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "errors.h"

/*
 * What a caller gave, as messages show it: whole if it can be an id, else its
 * beginning.  Never cut within a character.
 */
const char *
payorder_shown(const char *text)
{
	int			length = strlen(text);
	int			shown = pg_mbcliplen(text, length, LONGEST_SHOWN);

	return shown == length ? text : psprintf("%.*s...", shown, text);
}

/* An argument that is part of a key: not longer than an index can hold. */
void
payorder_check_key(const char *text, const char *name)
{
	if (text != NULL && pg_mbstrlen(text) > LONGEST_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errhint("Give at most %d characters.", LONGEST_KEY)));
}
