/*-------------------------------------------------------------------------
 *
 * callback_ingest.c
 *		The SQL function ingest: a call's arguments, and what is raised when
 *		the call itself is wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "callback.h"
#include "errors.h"
#include "guc.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_ingest);

static void
unknown_event(const char *event)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown event \"%s\"", payorder_shown(event)),
			 errhint("Events are %s.", payorder_message_events())));
}

/* Refuses what a caller may not say of itself. */
void
payorder_check_source(const char *source, const char *gateway)
{
	if (strcmp(source, "bill") == 0 || strcmp(source, "operator") == 0 ||
		strcmp(gateway, "none") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("source or gateway is reserved for payorder itself"),
				 errhint("Give source callback or query, and a gateway of your own.")));
	if (strcmp(source, "callback") != 0 && strcmp(source, "query") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown source"),
				 errhint("A source is callback or query.")));
}

/* The nine columns of ingest_result. */
void
payorder_answer_values(const Answer *answer, Datum *values, bool *nulls)
{
	const char *texts[] = {
		answer->verdict, answer->first_verdict, answer->order_no,
		answer->state, NULL, answer->detail, NULL,
		answer->acknowledged ? "text/plain" : NULL,
		answer->acknowledged ? "success" : NULL
	};

	for (size_t i = 0; i < lengthof(texts); i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	values[4] = BoolGetDatum(answer->paid);
	nulls[4] = false;
	values[6] = Int32GetDatum(200);
	nulls[6] = !answer->acknowledged;
}

static Message
read_message(FunctionCallInfo fcinfo)
{
	Message		m = {0};
	char	   *event;

	m.gateway = payorder_required_text(fcinfo, 0, "gateway");
	m.txn_id = payorder_required_text(fcinfo, 1, "txn_id");
	event = payorder_required_text(fcinfo, 2, "event");
	if (!payorder_message_event(event, &m.event))
		unknown_event(event);
	m.reference = payorder_text_argument(fcinfo, 3);
	m.has_amount = !PG_ARGISNULL(4);
	m.amount = m.has_amount ? PG_GETARG_INT64(4) : 0;
	m.currency = payorder_text_argument(fcinfo, 5);
	m.occurred_at = PG_ARGISNULL(6) ? NO_TIME : PG_GETARG_TIMESTAMPTZ(6);
	m.payload = payorder_text_argument(fcinfo, 7);
	m.source = PG_ARGISNULL(8) ? "callback" : payorder_text_argument(fcinfo, 8);
	m.payment_txn = payorder_text_argument(fcinfo, 9);
	m.refund_no = payorder_text_argument(fcinfo, 10);
	m.amount_is_total = !PG_ARGISNULL(11) && PG_GETARG_BOOL(11) &&
		m.event == EVENT_REFUND;
	payorder_check_source(m.source, m.gateway);
	return m;
}

/* A call of ingest(). */
typedef struct Call
{
	Message		message;
	Answer	   *answer;
} Call;

static void
take(void *argument)
{
	Call	   *call = argument;

	call->answer = payorder_callback_ingest(&call->message);
}

Datum
payorder_ingest(PG_FUNCTION_ARGS)
{
	Call		call = {0};
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS];

	payorder_prevent_read_only("ingest()");
	payorder_require_sync();
	call.message = read_message(fcinfo);
	payorder_keep_open(take, &call);
	payorder_answer_values(call.answer, values, nulls);
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}
