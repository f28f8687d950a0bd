/*-------------------------------------------------------------------------
 *
 * payorder.c
 *		The library's entry: settings, the rooms' tables, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "attempt.h"
#include "callback.h"
#include "checks.h"
#include "gateway_adapter.h"
#include "guard.h"
#include "guc.h"
#include "order.h"
#include "payment.h"
#include "refund.h"
#include "wake.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	payorder_define_settings();
	payorder_checks_register();
	payorder_guard_register();
	payorder_order_register();
	payorder_payment_register();
	payorder_attempt_register();
	payorder_refund_register();
	payorder_callback_register();
	payorder_gateway_register();
	/* pg_upgrade's servers start nothing of ours */
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
	{
		payorder_wake_request_memory();
		payorder_worker_register();
		payorder_worker_release_register();
	}
}
