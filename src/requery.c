/*-------------------------------------------------------------------------
 *
 * requery.c
 *		requery: ask the gateways again about what was touched in a window.
 *
 * A failover can lose commits whose callbacks were acknowledged, and a
 * gateway never sends an acknowledged message again.  So everything that may
 * have changed since is asked about: attempts that are open, or began or ended
 * in the window, and refunds that are open, or were asked for or ended in it.
 * Who is asked about already is not asked about twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "attempt.h"
#include "gateway_settings.h"
#include "refund.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_requery);

Datum
payorder_requery(PG_FUNCTION_ARGS)
{
	const char *gateway = payorder_text_argument(fcinfo, 1);
	TimestampTz since;

	payorder_prevent_read_only("requery()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("since must not be null"),
				 errhint("Give the time of the last commit that is known to be kept.")));
	since = Max(PG_GETARG_TIMESTAMPTZ(0), NO_TIME + 1);
	if (gateway != NULL && payorder_gateway(gateway, NULL, NULL) == NULL)
		payorder_no_gateway(gateway);
	PG_RETURN_INT32(payorder_attempts_requery(since, gateway) +
					payorder_refunds_requery(since, gateway));
}
