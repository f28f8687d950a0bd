/*-------------------------------------------------------------------------
 *
 * gateway_message.c
 *		What the adapters of gateways share: headers, times, parts of a body,
 *		amounts; and how a message is rejected.
 *
 * What a gateway sends is foreign until its signature is right, and may be
 * wrong even then: nothing here trusts its form.  An amount that can't be
 * taken exactly is none, and the decision list says what that means.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "gateway_adapter.h"
#include "gateway_settings.h"
#include "relation.h"

/* Ends an adapter's work; gateway.c catches it.  The reason is a constant. */
void
payorder_reject(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_REJECTED),
			 errmsg_internal("%s", reason)));
}

/*
 * Why a message is rejected for which an adapter raised an error; NULL: the
 * error is not the message's.  What raises these holds nothing that would have
 * to be given back, so they can be caught without a subtransaction.
 */
const char *
payorder_rejection(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_PO_REJECTED)
		return error->message;
	if (error->sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
		return REJECTED_BODY;
	return NULL;
}

/* The value of a header, NULL if there is none; its name in lower case. */
const char *
payorder_header(const RawMessage *raw, const char *name)
{
	for (int i = 0; i < raw->header_count; i++)
	{
		if (strcmp(raw->headers[i].name, name) != 0)
			continue;
		if (raw->headers[i].twice)
			payorder_reject(REJECTED_HEADER);
		return raw->headers[i].value;
	}
	return NULL;
}

const char *
payorder_required_header(const RawMessage *raw, const char *name)
{
	const char *value = payorder_header(raw, name);

	if (value == NULL || value[0] == '\0')
		payorder_reject(REJECTED_HEADER);
	return value;
}

/* Seconds since 1970, written as 1 to 11 digits and nothing else. */
int64
payorder_unix_time(const char *digits)
{
	size_t		length = strspn(digits, "0123456789");

	if (length < 1 || length > 11 || digits[length] != '\0')
		payorder_reject(REJECTED_HEADER);
	return strtoi64(digits, NULL, 10);
}

static TimestampTz
from_unix(int64 seconds)
{
	return (seconds - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
			SECS_PER_DAY) * USECS_PER_SEC;
}

/* The time that was signed must be near, before and after. */
void
payorder_check_window(const RawMessage *raw, int64 unix_seconds)
{
	int64		distance = raw->at - from_unix(unix_seconds);

	if (distance > raw->gateway->time_window ||
		distance < -raw->gateway->time_window)
		payorder_reject(REJECTED_TIME);
}

/*
 * A JSON text in UTF-8, as a tree.  Anything wrong with it, a key that is
 * there twice included, is an error of class 22, for which gateway.c rejects
 * the message.
 */
JsonNode *
payorder_body_json(const char *text, size_t length)
{
	if (memchr(text, '\0', length) != NULL)
		payorder_reject(REJECTED_BODY);
	return payorder_json_parse(pg_any_to_server(text, (int) length, PG_UTF8),
							   ERRCODE_INVALID_JSON_TEXT, "message");
}

/* What is at a path of members, "data.object.id"; NULL if there is nothing. */
JsonNode *
payorder_node_at(const JsonNode *node, const char *path)
{
	for (;;)
	{
		size_t		length = strcspn(path, ".");
		JsonNode   *member = payorder_json_member(node, pnstrdup(path, length));

		if (member == NULL || path[length] == '\0')
			return member == NULL || member->kind == JSON_NULL ? NULL : member;
		node = member;
		path += length + 1;
	}
}

/* The text at a path, NULL if there is none. */
const char *
payorder_string_at(const JsonNode *node, const char *path)
{
	JsonNode   *found = payorder_node_at(node, path);

	return found == NULL || found->kind != JSON_STRING ? NULL : found->text;
}

/* The same of an id, which is refused rather than cut; '' is none. */
const char *
payorder_id_at(const JsonNode *node, const char *path)
{
	JsonNode   *found = payorder_node_at(node, path);

	if (found == NULL || (found->kind == JSON_STRING && found->text[0] == '\0'))
		return NULL;
	if (found->kind != JSON_STRING || !payorder_is_id(found->text))
		payorder_reject(REJECTED_BODY);
	return found->text;
}

/* A time at a path: ISO 8601 with its zone, or seconds since 1970. */
TimestampTz
payorder_time_at(const JsonNode *node, const char *path)
{
	JsonNode   *found = payorder_node_at(node, path);
	TimestampTz time;
	int64		seconds;

	if (found != NULL && found->kind == JSON_STRING &&
		payorder_iso_time(found->text, &time))
		return time;
	if (payorder_json_bigint(found, &seconds) &&
		seconds >= 0 && seconds < INT64CONST(100000000000))
		return from_unix(seconds);
	return NO_TIME;
}

/* ---- amounts ---- */

/* The decimals of a currency at the gateway; -1: the currency is unknown. */
static int
gateway_exponent(const RawMessage *raw, const char *currency)
{
	JsonNode   *own = payorder_json_member(raw->gateway->exponents, currency);
	int64		exponent;

	if (payorder_json_bigint(own, &exponent))
		return (int) exponent;
	return payorder_currency_exponent(currency);
}

/* From minor units as the gateway counts them to those of ISO 4217. */
static bool
to_iso(int64 *amount, int from, int to)
{
	for (; from > to; from--)
	{
		if (*amount % 10 != 0)
			return false;
		*amount /= 10;
	}
	for (; from < to; from++)
	{
		if (pg_mul_s64_overflow(*amount, 10, amount))
			return false;
	}
	return true;
}

/*
 * Sets amount and currency from a number of the gateway's minor units.  Where
 * the message names no currency, it is the payment's, counted by ISO 4217.
 */
void
payorder_minor_amount(const RawMessage *raw, Message *message,
					  const JsonNode *number, const char *currency)
{
	int			iso = currency == NULL ? 0 : payorder_currency_exponent(currency);

	message->currency = currency;
	message->has_amount = payorder_json_bigint(number, &message->amount) &&
		(iso < 0 || currency == NULL ||
		 to_iso(&message->amount, gateway_exponent(raw, currency), iso));
}

/* The same from a decimal text, "19.90"; NULL is no amount. */
void
payorder_decimal_amount(const RawMessage *raw, Message *message,
						const char *text, const char *currency)
{
	int			iso = payorder_currency_exponent(currency);
	int			exponent = gateway_exponent(raw, currency);

	message->currency = currency;
	message->has_amount = text != NULL && iso >= 0 &&
		payorder_decimal(text, exponent, &message->amount) &&
		to_iso(&message->amount, exponent, iso);
}

/* ---- what an adapter returns ---- */

Decoded *
payorder_decoded(JsonNode *payload, MessageEvent event)
{
	Decoded    *decoded = palloc0(sizeof(Decoded));

	decoded->payload = payload;
	decoded->message.event = event;
	decoded->message.occurred_at = NO_TIME;
	return decoded;
}

Decoded *
payorder_ignored(JsonNode *payload, const char *type, bool noteworthy)
{
	Decoded    *decoded = payorder_decoded(payload, 0);

	decoded->ignored = type == NULL ? "" : type;
	decoded->noteworthy = noteworthy;
	return decoded;
}

/* For an adapter's check() of its gateway's settings. */
void
payorder_wrong_setting(const char *setting, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_KEY_CONFIGURATION),
			 errmsg("gateway setting \"%s\" is missing or wrong for its adapter",
					setting),
			 errhint("%s", hint)));
}

/* Refuses settings that the adapter doesn't know; "known" ends with NULL. */
void
payorder_check_setting_names(const GatewayProfile *gateway,
							 const char *const *known)
{
	if (gateway->settings == NULL)
		return;
	for (JsonNode *node = gateway->settings->first; node; node = node->next)
	{
		int			i = 0;

		while (known[i] != NULL && strcmp(known[i], node->name) != 0)
			i++;
		if (known[i] == NULL)
			payorder_wrong_setting(payorder_shown(node->name),
								   "The adapter has no such setting; see doc/gateways.md.");
	}
}
