/*-------------------------------------------------------------------------
 *
 * removal.c
 *		How purge() gets past the guards of rows that nobody removes.
 *
 * A counter that only this file can change says how deep in removals this
 * backend is.  It is raised around the work that is handed over, lowered
 * again however that ends, and reset when a transaction or subtransaction is
 * rolled back, so that it never outlives the removal that it stands for.  It
 * is no setting, and nothing that SQL can reach: the triggers ask for it, and
 * besides that the statement must be one of the kernel's own (relation.c).
 *
 * A subtransaction that is rolled back inside of the work, as by a user's
 * trigger that catches an error, is none of its business.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "removal.h"

static int	removals = 0;
static int	begun_at = 0;		/* how deep in subtransactions */

bool
payorder_in_removal(void)
{
	return removals > 0;
}

static void
at_end(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		removals = 0;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id,
					  SubTransactionId parent, void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB &&
		GetCurrentTransactionNestLevel() <= begun_at)
		removals = 0;
}

static void
watch_ends(void)
{
	static bool watching = false;

	if (watching)
		return;
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	watching = true;
}

/* Does some work in which kept rows may be removed. */
void
payorder_remove(void (*work) (void *), void *argument)
{
	watch_ends();
	if (removals++ == 0)
		begun_at = GetCurrentTransactionNestLevel();
	PG_TRY();
	{
		work(argument);
	}
	PG_FINALLY();
	{
		if (removals > 0)
			removals--;
	}
	PG_END_TRY();
}
