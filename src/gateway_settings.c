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
	.sql = "SELECT enabled, paused, builtin, failed_is_final, parallel_attempts,"
	" require_attempt, return_delay, auto_return_per_hour,"
	" auto_return_amount_per_hour,"
	" pay_id_pattern IS NULL,"
	" pay_id_pattern IS NULL OR coalesce($2, '') ~ pay_id_pattern"
	" FROM payorder.gateways WHERE gateway = $1",
	.arguments = "tt"
};
static Statement lock_gateway = {
	.sql = "SELECT paused, builtin FROM payorder.gateways WHERE gateway = $1"
	" FOR SHARE",
	.arguments = "t"
};
static Statement get_installation = {
	.sql = "SELECT system_identifier, database_oid FROM payorder.installation"
	" WHERE only_row = $1",
	.arguments = "b"
};
static Statement find_currency = {
	.sql = "SELECT currency, exponent FROM payorder.currencies WHERE currency = $1::bpchar",
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

/* Whether this database is a copy of the one that was noted. */
static bool
is_copy(void)
{
	Rows	   *rows = payorder_query(&get_installation, (int) true);

	return rows->count > 0 &&
		(rows->cells[0].number != payorder_cluster() ||
		 rows->cells[1].number != payorder_database());
}

/*
 * The settings of a gateway, with what they say of an id and a currency (both
 * may be NULL); NULL if there is no such gateway.
 */
Gateway *
payorder_gateway(const char *name, const char *txn_id, const char *currency)
{
	Rows	   *rows = payorder_query(&get_gateway, name, txn_id);
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
	gateway->copy_matters = !payorder_read_truth(&reader);
	gateway->failed_is_final = payorder_read_truth(&reader);
	gateway->parallel_attempts = payorder_read_truth(&reader);
	gateway->require_attempt = payorder_read_truth(&reader);
	delay = payorder_read_interval(&reader);
	gateway->return_delay = delay->day * USECS_PER_DAY + delay->time;
	gateway->auto_return_per_hour = payorder_read_number(&reader);
	if (!reader.next->isnull)
		gateway->auto_return_amount = &reader.next->number;
	reader.next++;
	gateway->any_id_fits = payorder_read_truth(&reader);
	gateway->pay_id_fits = payorder_read_truth(&reader);
	gateway->currency = currency;
	gateway->currency_known = currency != NULL &&
		payorder_currency_known(currency);
	return gateway;
}

/*
 * The same for one message of many: what was found for another serves again
 * where it says the same.
 */
Gateway *
payorder_gateway_again(Gateway *found, const char *name, const char *txn_id,
					   const char *currency)
{
	if (found != NULL && found->any_id_fits &&
		strcmp(found->name, name) == 0 &&
		payorder_same_text(found->currency, currency))
		return found;
	return payorder_gateway(name, txn_id, currency);
}

/*
 * Whether a gateway is paused, itself or as all are in a copy; that is asked
 * when somebody wants to know, which a duplicate does not.
 */
bool
payorder_gateway_is_paused(Gateway *gateway)
{
	if (!gateway->paused && gateway->copy_matters)
		gateway->paused = is_copy();
	gateway->copy_matters = false;
	return gateway->paused;
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
	return rows->cells[0].truth || (!rows->cells[1].truth && is_copy());
}

/*
 * The decimals of a currency's minor unit, -1 if it is not known.  char(3)
 * ignores blanks at the end; a currency has none.
 */
int
payorder_currency_exponent(const char *currency)
{
	Rows	   *rows = payorder_query(&find_currency, currency);

	if (rows->count == 0 || strcmp(rows->cells[0].text, currency) != 0)
		return -1;
	return rows->cells[1].number;
}

bool
payorder_currency_known(const char *currency)
{
	return payorder_currency_exponent(currency) >= 0;
}

void
payorder_no_gateway(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_NO_GATEWAY),
			 errmsg("no gateway \"%s\"", payorder_shown(name)),
			 errhint("Add it with add_gateway(); see payorder.gateways.")));
}
