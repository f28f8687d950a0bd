/*-------------------------------------------------------------------------
 *
 * gateway.c
 *		ingest_http: a gateway's raw HTTP message in, its acknowledgement out.
 *
 * The gateway's adapter verifies the raw bytes and says what is in them; each
 * of these facts goes the way of ingest(), and the message is acknowledged
 * when each has a verdict that acknowledges.  The answer is worth nothing
 * before the caller's commit.
 *
 * What an adapter raises to reject a message is caught without a
 * subtransaction: it has written nothing, holds no lock and has no statement
 * open.  Anything else is raised on.  Keys are in memory while it works, and
 * are overwritten in either case.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "common/string.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "crypto.h"
#include "errors.h"
#include "gateway_adapter.h"
#include "gateway_aside.h"
#include "gateway_settings.h"
#include "guc.h"
#include "redact.h"
#include "relation.h"
#include "task.h"

PG_FUNCTION_INFO_V1(payorder_ingest_http);
PG_FUNCTION_INFO_V1(payorder_decode_http);
PG_FUNCTION_INFO_V1(payorder_ingest_waiting);
PG_FUNCTION_INFO_V1(payorder_adapter_defaults);
PG_FUNCTION_INFO_V1(payorder_check_gateway);

/* All adapters: to add one is a file and a row. */
static const Adapter *const adapters[] = {
	&payorder_adapter_stripe,
	&payorder_adapter_wechatpay,
	&payorder_adapter_alipay,
	&payorder_adapter_adyen,
	&payorder_adapter_hmac
};

/* The adapter of gateways whose messages the caller verifies. */
#define GENERIC		"generic"

static Statement get_profile = {
	.sql = "SELECT adapter, merchant_id, app_scope, mode = 'live', capture_mode,"
	" time_window, exponents::text, adapter_settings::text, keep_ignored"
	" FROM payorder.gateways WHERE gateway = $1",
	.arguments = "t"
};

/* A message on its way. */
typedef struct Incoming
{
	const Adapter *adapter;
	GatewayProfile profile;
	bool		keep_ignored;
	Envelope	envelope;
	RawMessage	raw;
	List	   *decoded;		/* of Decoded */
	const char *rejected;		/* as a whole, for this reason */
	Answer	   *answers;		/* one for each */
} Incoming;

/* NULL if there is none of that name, as for gateways without one. */
const Adapter *
payorder_adapter(const char *name)
{
	for (size_t i = 0; i < lengthof(adapters); i++)
	{
		if (strcmp(adapters[i]->name, name) == 0)
			return adapters[i];
	}
	return NULL;
}

static void
read_profile(Incoming *in, const char *gateway)
{
	Rows	   *rows = payorder_query(&get_profile, gateway);
	GatewayProfile *profile = &in->profile;
	Reader		reader;
	Interval   *window;

	if (rows->count == 0)
		payorder_no_gateway(gateway);
	reader = payorder_row(rows, 0);
	in->adapter = payorder_adapter(payorder_read_text(&reader));
	profile->gateway = gateway;
	profile->merchant_id = payorder_read_text(&reader);
	profile->app_scope = payorder_read_text(&reader);
	profile->live = payorder_read_truth(&reader);
	profile->capture_mode = payorder_read_text(&reader);
	window = payorder_read_interval(&reader);
	profile->time_window = window->day * USECS_PER_DAY + window->time;
	profile->exponents = payorder_json_parse(payorder_read_text(&reader),
											 ERRCODE_INTERNAL_ERROR, "exponents");
	profile->settings = payorder_json_parse(payorder_read_text(&reader),
											ERRCODE_INTERNAL_ERROR, "settings");
	in->keep_ignored = payorder_read_truth(&reader);
}

static void
find_gateway(Incoming *in, const char *gateway)
{
	read_profile(in, gateway);
	if (in->adapter == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("gateway \"%s\" takes no raw messages",
						payorder_shown(gateway)),
				 errhint("Its adapter is \"generic\": verify messages yourself and call ingest(), or add a gateway with another adapter.")));
}

/* ---- headers ---- */

static void
refuse_headers(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("headers have a wrong form"),
			 errhint("Give an object of names and values; a value is a string, or an array of them where a header came several times.")));
}

static void
add_header(Incoming *in, Header *headers, const JsonbValue *name,
		   const char *value)
{
	char	   *lower = asc_tolower(name->val.string.val, name->val.string.len);

	for (int i = 0; i < in->raw.header_count; i++)
	{
		if (strcmp(headers[i].name, lower) == 0)
		{
			headers[i].twice = true;
			return;
		}
	}
	headers[in->raw.header_count++] = (Header) {lower, value, false};
}

static char *
string_value(const JsonbValue *value)
{
	if (value->type != jbvString)
		refuse_headers();
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* A header's values: each is added by itself, so that two are noticed. */
static void
add_headers(Incoming *in, Header *headers, const JsonbValue *name,
			JsonbValue *value)
{
	JsonbContainer *list;

	if (value->type == jbvNull)
		return;
	if (value->type != jbvBinary)
	{
		add_header(in, headers, name, string_value(value));
		return;
	}
	list = value->val.binary.data;
	if (!JsonContainerIsArray(list))
		refuse_headers();
	for (uint32 i = 0; i < JsonContainerSize(list); i++)
		add_header(in, headers, name,
				   string_value(getIthJsonbValueFromContainer(list, i)));
}

#define MOST_HEADERS	200

static void
read_headers(Incoming *in, Jsonb *object)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	Header	   *headers;

	if (!JB_ROOT_IS_OBJECT(object) || JB_ROOT_COUNT(object) > MOST_HEADERS)
		refuse_headers();
	headers = palloc(sizeof(Header) * Max(JB_ROOT_COUNT(object), 1));
	in->raw.headers = headers;
	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		add_headers(in, headers, &name, &value);
	}
}

/* Those headers that are stored, as JSON; NULL if there is none of them. */
static const char *
kept_headers(const Incoming *in)
{
	StringInfoData object;
	int			count = 0;

	initStringInfo(&object);
	for (const char *const *name = in->adapter->kept_headers;
		 name != NULL && *name != NULL; name++)
	{
		for (int i = 0; i < in->raw.header_count; i++)
		{
			const Header *header = &in->raw.headers[i];

			if (strcmp(header->name, *name) != 0 || header->twice)
				continue;
			appendStringInfoString(&object, count++ == 0 ? "{" : ", ");
			escape_json(&object, header->name);
			appendStringInfoString(&object, ": ");
			escape_json(&object, header->value);
		}
	}
	appendStringInfoChar(&object, '}');
	return count == 0 ? NULL : object.data;
}

/* ---- the body ---- */

static void
read_body(Incoming *in, bytea *body)
{
	size_t		length = VARSIZE_ANY_EXHDR(body);

	in->envelope.length = length;
	if (length > (size_t) payorder_max_body)
	{
		in->rejected = REJECTED_SIZE;
		return;
	}
	in->raw.body = memcpy(palloc0(length + 1), VARDATA_ANY(body), length);
	in->raw.length = length;
	in->envelope.body = body;
	in->envelope.digest = payorder_sha256_of(in->raw.body, length);
}

static void
decode(Incoming *in)
{
	MemoryContext caller = CurrentMemoryContext;
	GatewayKey *keys;
	int			count;

	if (in->rejected != NULL)
		return;
	keys = payorder_gateway_keys(in->profile.gateway, GetCurrentTimestamp(),
								 &count);
	in->raw.keys = keys;
	in->raw.key_count = count;
	PG_TRY();
	{
		in->decoded = in->adapter->decode(&in->raw);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		payorder_forget_keys(keys, count);
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		in->rejected = payorder_rejection(error);
		if (in->rejected == NULL)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (in->rejected == NULL)
		payorder_forget_keys(keys, count);
	in->raw.keys = NULL;
	in->raw.key_count = 0;
}

/* Nothing that is stored or shown has a card's number; ids may look like one. */
static void
redact(const Incoming *in)
{
	ListCell   *cell;

	foreach(cell, in->decoded)
	{
		Decoded    *decoded = lfirst(cell);
		const Message *m = &decoded->message;
		const char *ids[] = {
			m->txn_id, m->reference, m->payment_txn, m->refund_no,
			decoded->own_id
		};

		if (decoded->payload != NULL)
			payorder_redact(decoded->payload, ids, lengthof(ids));
		if (decoded->ignored != NULL)
			decoded->ignored = payorder_redact_text(decoded->ignored, NULL, 0);
	}
}

/* Reads and verifies a message that came at an instant. */
static void
receive(Incoming *in, const char *gateway, Jsonb *headers, bytea *body,
		const char *query, TimestampTz at)
{
	find_gateway(in, gateway);
	in->raw.gateway = &in->profile;
	in->raw.at = at;
	read_headers(in, headers);
	in->envelope.gateway = gateway;
	in->envelope.headers = headers;
	in->envelope.query = query;
	in->envelope.at = at;
	in->envelope.kept_headers = kept_headers(in);
	read_body(in, body);
	decode(in);
	redact(in);
}

/* ---- verdicts ---- */

static Answer
set_aside(Incoming *in, const Decoded *decoded)
{
	Answer		answer = {0};
	const char *reason = decoded == NULL ? in->rejected : decoded->rejected;

	if (reason != NULL)
	{
		payorder_aside_rejected(&in->envelope, reason);
		answer.verdict = "rejected";
		answer.detail = reason;
		return answer;
	}
	payorder_aside_ignored(&in->envelope, decoded->ignored,
						   decoded->noteworthy || in->keep_ignored ?
						   payorder_json_text(decoded->payload) : NULL);
	answer.verdict = "ignored";
	answer.detail = decoded->ignored;
	answer.acknowledged = true;
	return answer;
}

static bool
is_fact(const Decoded *decoded)
{
	return decoded->rejected == NULL && decoded->ignored == NULL;
}

static void
complete(const Incoming *in, Decoded *decoded)
{
	Message    *m = &decoded->message;

	m->gateway = in->profile.gateway;
	m->source = "callback";
	m->payload = payorder_json_text(decoded->payload);
	m->body_digest = in->envelope.digest;
	m->headers = in->envelope.kept_headers;
}

/* Completes the facts; of several, their orders are locked before. */
static void
prepare(const Incoming *in)
{
	Message   **messages = palloc(sizeof(Message *) *
								  Max(list_length(in->decoded), 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, in->decoded)
	{
		Decoded    *decoded = lfirst(cell);

		if (!is_fact(decoded))
			continue;
		complete(in, decoded);
		messages[count++] = &decoded->message;
	}
	if (count > 1)
		payorder_callback_lock_orders(messages, count);
}

static void
take_all(Incoming *in)
{
	ListCell   *cell;
	int			count = 0;

	in->answers = palloc0(sizeof(Answer) * Max(list_length(in->decoded), 1));
	if (in->rejected != NULL)
	{
		in->answers[0] = set_aside(in, NULL);
		return;
	}
	prepare(in);
	foreach(cell, in->decoded)
	{
		Decoded    *decoded = lfirst(cell);

		in->answers[count++] = is_fact(decoded) ?
			*payorder_callback_ingest(&decoded->message) :
			set_aside(in, decoded);
	}
}

static int
answer_count(const Incoming *in)
{
	return in->rejected != NULL ? 1 : list_length(in->decoded);
}

/* ---- the acknowledgement ---- */

static const HttpAnswer *
acknowledgement(const Incoming *in)
{
	const HttpAnswer *worst = &in->adapter->accepted;

	for (int i = 0; i < answer_count(in); i++)
	{
		const Answer *answer = &in->answers[i];

		if (answer->acknowledged)
			continue;
		if (strcmp(answer->verdict, "rejected") == 0 &&
			strcmp(answer->detail, REJECTED_KEY) != 0)
			return &in->adapter->refused;
		worst = &in->adapter->later;
	}
	return worst;
}

/* JSON in UTF-8 with nothing but ASCII in it. */
static char *
escaped(const char *text)
{
	StringInfoData result;

	initStringInfo(&result);
	for (const unsigned char *c = (const unsigned char *) text; *c; c += pg_utf_mblen(c))
	{
		if (*c < 0x80)
			appendStringInfoChar(&result, *c);
		else
			appendStringInfo(&result, "\\u%04x", utf8_to_unicode(c));
	}
	return result.data;
}

/*
 * A constant in UTF-8 as a text of the database.  What its encoding does not
 * have can only be in JSON, and is escaped: an answer must not raise.
 */
static Datum
utf8_text(const char *text)
{
	int			length = strlen(text);
	int			room = length * MAX_CONVERSION_GROWTH + 1;
	char	   *converted;
	Oid			conversion;

	if (GetDatabaseEncoding() == PG_UTF8 || pg_is_ascii(text))
		return CStringGetTextDatum(text);
	converted = palloc(room);
	conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (OidIsValid(conversion) &&
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
									  (unsigned char *) unconstify(char *, text),
									  length, (unsigned char *) converted,
									  room, true) == length)
		return CStringGetTextDatum(converted);
	return CStringGetTextDatum(escaped(text));
}

static void
ack_values(const HttpAnswer *ack, Datum *values)
{
	values[0] = Int32GetDatum(ack->status);
	values[1] = utf8_text(ack->type);
	values[2] = utf8_text(ack->body);
}

static Datum
result_array(const Incoming *in, Oid array_type)
{
	Oid			element = get_element_type(array_type);
	TupleDesc	description = lookup_rowtype_tupdesc(element, -1);
	int			count = answer_count(in);
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		Datum		values[ANSWER_COLUMNS];
		bool		nulls[ANSWER_COLUMNS];

		payorder_answer_values(&in->answers[i], values, nulls);
		if (in->answers[i].acknowledged)
			ack_values(&in->adapter->accepted, values + ANSWER_COLUMNS - 3);
		elements[i] = HeapTupleGetDatum(heap_form_tuple(description, values, nulls));
	}
	ReleaseTupleDesc(description);
	return PointerGetDatum(construct_array(elements, count, element, -1,
										   false, TYPALIGN_DOUBLE));
}

static Datum
http_result(FunctionCallInfo fcinfo, const Incoming *in)
{
	TupleDesc	description;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ack_values(acknowledgement(in), values);
	values[3] = result_array(in, TupleDescAttr(description, 3)->atttypid);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description),
											 values, nulls));
}

/* ---- the SQL functions ---- */

static void
require(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errhint("Give a value for \"%s\".", name)));
}

static void
receive_arguments(Incoming *in, FunctionCallInfo fcinfo, TimestampTz at)
{
	const char *gateway = payorder_required_text(fcinfo, 0, "gateway");

	require(fcinfo, 1, "headers");
	require(fcinfo, 2, "body");
	receive(in, gateway, PG_GETARG_JSONB_P(1), PG_GETARG_BYTEA_PP(2),
			payorder_text_argument(fcinfo, 3), at);
}

static void
take_in(void *argument)
{
	take_all(argument);
}

Datum
payorder_ingest_http(PG_FUNCTION_ARGS)
{
	Incoming	in = {0};

	payorder_prevent_read_only("ingest_http()");
	payorder_require_sync();
	receive_arguments(&in, fcinfo, GetCurrentTimestamp());
	payorder_keep_open(take_in, &in);
	PG_RETURN_DATUM(http_result(fcinfo, &in));
}

#define DECODED_COLUMNS	14

static void
put_decoded(ReturnSetInfo *output, int number, const Incoming *in,
			const Decoded *decoded)
{
	const Message *m = decoded == NULL ? NULL : &decoded->message;
	const char *rejected = decoded == NULL ? in->rejected : decoded->rejected;
	const char *ignored = decoded == NULL ? NULL : decoded->ignored;
	bool		fact = rejected == NULL && ignored == NULL;
	const char *texts[DECODED_COLUMNS] = {
		[1] = rejected != NULL ? "rejected" : ignored != NULL ? "ignored" : NULL,
		[2] = rejected != NULL ? rejected : ignored,
		[3] = fact ? payorder_event_name(m->event) : NULL,
		[4] = fact ? m->txn_id : NULL,
		[5] = fact ? m->reference : NULL,
		[7] = fact ? m->currency : NULL,
		[8] = fact ? m->payment_txn : NULL,
		[9] = fact ? m->refund_no : NULL,
		[12] = decoded != NULL && decoded->payload != NULL ?
		payorder_json_text(decoded->payload) : NULL
	};
	Datum		values[DECODED_COLUMNS] = {0};
	bool		nulls[DECODED_COLUMNS];

	for (int i = 0; i < DECODED_COLUMNS; i++)
	{
		nulls[i] = texts[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	values[0] = Int32GetDatum(number);
	nulls[0] = false;
	if (fact)
	{
		values[6] = Int64GetDatum(m->amount);
		nulls[6] = !m->has_amount;
		values[10] = BoolGetDatum(m->amount_is_total);
		values[11] = TimestampTzGetDatum(m->occurred_at);
		nulls[10] = false;
		nulls[11] = m->occurred_at == NO_TIME;
	}
	values[13] = BoolGetDatum(decoded != NULL && decoded->noteworthy);
	nulls[13] = false;
	tuplestore_putvalues(output->setResult, output->setDesc, values, nulls);
}

Datum
payorder_decode_http(PG_FUNCTION_ARGS)
{
	Incoming	in = {0};
	ReturnSetInfo *output = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;
	int			number = 0;

	InitMaterializedSRF(fcinfo, 0);
	receive_arguments(&in, fcinfo, PG_ARGISNULL(4) ? GetCurrentTimestamp() :
					  PG_GETARG_TIMESTAMPTZ(4));
	if (in.rejected != NULL)
		put_decoded(output, 1, &in, NULL);
	foreach(cell, in.decoded)
		put_decoded(output, ++number, &in, lfirst(cell));
	return (Datum) 0;
}

/* ---- what waited for its key ---- */

typedef struct Again
{
	const char *gateway;
	const Waiter *waiter;
	bool		taken;
} Again;

static void
take_waiter(void *argument)
{
	Again	   *again = argument;
	const Waiter *waiter = again->waiter;
	Incoming	in = {0};

	receive(&in, again->gateway, waiter->headers, waiter->body, waiter->query,
			waiter->received_at);
	if (in.rejected != NULL && strcmp(in.rejected, REJECTED_KEY) == 0)
		return;
	payorder_aside_drop(again->gateway, waiter->number);
	take_all(&in);
	again->taken = true;
}

/*
 * How many of them the gateway's keys of now could decide.  The others, one
 * that raised included, go on waiting, and so does the alarm.
 */
static int
take_waiters(const char *gateway)
{
	Waiter	   *waiters;
	int			count;
	int			taken = 0;
	Incoming	in = {0};

	find_gateway(&in, gateway);
	payorder_require_sync();
	waiters = payorder_aside_waiters(gateway, &count);
	for (int i = 0; i < count; i++)
	{
		Again		again = {gateway, &waiters[i], false};

		if (payorder_isolated(take_waiter, &again) == NULL)
			taken += again.taken;
	}
	if (taken == count)
		payorder_task_close_review(psprintf("gateway %s", gateway),
								   "key_unknown");
	return taken;
}

Datum
payorder_ingest_waiting(PG_FUNCTION_ARGS)
{
	payorder_prevent_read_only("ingest_waiting()");
	PG_RETURN_INT32(take_waiters(payorder_required_text(fcinfo, 0, "gateway")));
}

static void
key_added(const char *gateway)
{
	(void) take_waiters(gateway);
}

/* Called once, when the library is loaded. */
void
payorder_gateway_register(void)
{
	payorder_gateway_key_on_add(key_added);
}

/* ---- settings ---- */

Datum
payorder_adapter_defaults(PG_FUNCTION_ARGS)
{
	char	   *name = payorder_text_argument(fcinfo, 0);
	const Adapter *adapter = name == NULL ? NULL : payorder_adapter(name);
	const char *defaults = "{}";

	if (adapter != NULL)
		defaults = adapter->defaults;
	else if (name == NULL || strcmp(name, GENERIC) != 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(defaults)));
}

Datum
payorder_check_gateway(PG_FUNCTION_ARGS)
{
	Incoming	in = {0};

	read_profile(&in, payorder_required_text(fcinfo, 0, "gateway"));
	if (in.adapter != NULL && in.adapter->check != NULL)
		in.adapter->check(&in.profile);
	PG_RETURN_VOID();
}
