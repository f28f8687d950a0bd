/*-------------------------------------------------------------------------
 *
 * gateway_settings.c
 *		Settings of a gateway, as the rooms above need them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"

#include "errors.h"
#include "gateway_settings.h"
#include "relation.h"

static Statement get_gateway = {
	.sql = "SELECT enabled, paused OR (NOT builtin AND " PAYORDER_IS_COPY("$4", "$5")
	"), failed_is_final, parallel_attempts,"
	" require_attempt, return_delay, auto_return_per_hour,"
	" auto_return_amount_per_hour,"
	" pay_id_pattern IS NULL OR coalesce($2, '') ~ pay_id_pattern,"
	" EXISTS (SELECT FROM payorder.currencies AS c WHERE c.currency = $3)"
	" FROM payorder.gateways WHERE gateway = $1",
	.arguments = "tttll"
};
static Statement lock_gateway = {
	.sql = "SELECT paused, builtin FROM payorder.gateways WHERE gateway = $1"
	" FOR SHARE",
	.arguments = "t"
};
static Statement is_copy = {
	.sql = "SELECT " PAYORDER_IS_COPY("$1", "$2"),
	.arguments = "ll"
};
static Statement find_currency = {
	.sql = "SELECT 1 FROM payorder.currencies WHERE currency = $1",
	.arguments = "t"
};

/* The cluster's identity, as payorder.installation has it. */
int64
payorder_cluster(void)
{
	return (int64) GetSystemIdentifier();
}

int64
payorder_database(void)
{
	return MyDatabaseId;
}

/*
 * The settings of a gateway, with what they say of an id and a currency (both
 * may be NULL); NULL if there is no such gateway.
 */
Gateway *
payorder_gateway(const char *name, const char *txn_id, const char *currency)
{
	Rows	   *rows = payorder_query(&get_gateway, name, txn_id, currency,
									  payorder_cluster(), payorder_database());
	Gateway    *gateway;
	Interval   *delay;
	Reader		reader;

	if (rows->count == 0)
		return NULL;
	gateway = palloc0(sizeof(Gateway));
	reader = payorder_row(rows, 0);
	gateway->name = name;
	gateway->enabled = payorder_read_truth(&reader);
	gateway->paused = payorder_read_truth(&reader);
	gateway->failed_is_final = payorder_read_truth(&reader);
	gateway->parallel_attempts = payorder_read_truth(&reader);
	gateway->require_attempt = payorder_read_truth(&reader);
	delay = payorder_read_interval(&reader);
	gateway->return_delay = delay->day * USECS_PER_DAY + delay->time;
	gateway->auto_return_per_hour = payorder_read_number(&reader);
	if (!reader.next->isnull)
		gateway->auto_return_amount = &reader.next->number;
	reader.next++;
	gateway->pay_id_fits = payorder_read_truth(&reader);
	gateway->currency_known = payorder_read_truth(&reader);
	return gateway;
}

/*
 * Whether a gateway is paused, with its row held shared, so that a
 * resume_gateway() or adopt_cluster() that comes now is later than what this
 * transaction leaves waiting.  Whether this is a copy is asked with the row in
 * hand: an adoption may just have been waited for.
 */
bool
payorder_gateway_paused_locked(const char *name)
{
	Rows	   *rows = payorder_query(&lock_gateway, name);

	if (rows->count == 0)
		return false;
	return rows->cells[0].truth ||
		(!rows->cells[1].truth &&
		 payorder_query(&is_copy, payorder_cluster(),
						payorder_database())->cells[0].truth);
}

bool
payorder_currency_known(const char *currency)
{
	return payorder_query(&find_currency, currency)->count > 0;
}

void
payorder_no_gateway(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_NO_GATEWAY),
			 errmsg("no gateway \"%s\"", payorder_shown(name)),
			 errhint("Add it with add_gateway(); see payorder.gateways.")));
}
