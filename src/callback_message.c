/*-------------------------------------------------------------------------
 *
 * callback_message.c
 *		A gateway's message as JSON: read strictly.
 *
 * The members are named as ingest()'s arguments are.  How a wrong form is
 * refused is the caller's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "callback.h"
#include "relation.h"

static const char *
text_member(const JsonNode *object, const char *name, Refusal refuse)
{
	JsonNode   *node = payorder_json_member(object, name);

	if (node == NULL || node->kind == JSON_NULL)
		return NULL;
	if (node->kind != JSON_STRING)
		refuse(psprintf("Member \"%s\" of a message must be a string.", name));
	return node->text;
}

static TimestampTz
time_member(const JsonNode *object, const char *name, Refusal refuse)
{
	const char *text = text_member(object, name, refuse);
	TimestampTz time = NO_TIME;

	if (text != NULL && !payorder_iso_time(text, &time))
		refuse(psprintf("Member \"%s\" of a message must be an ISO 8601 time with its zone.",
						name));
	return time;
}

/* A member of a message, NULL where it is missing or null; text only. */
const char *
payorder_message_text(const JsonNode *node, const char *name, Refusal refuse)
{
	return text_member(node, name, refuse);
}

/*
 * What a JSON object says, but for its gateway and source.  An amount that is
 * no whole number is none, and line 5 says so.
 */
Message
payorder_message_read(const JsonNode *node, Refusal refuse)
{
	Message		m = {0};
	JsonNode   *payload = payorder_json_member(node, "payload");
	const char *event = text_member(node, "event", refuse);

	m.txn_id = text_member(node, "txn_id", refuse);
	if (m.txn_id == NULL || event == NULL)
		refuse("Each message must have txn_id and event.");
	if (!payorder_message_event(event, &m.event))
		refuse("A message has an unknown event.");
	m.reference = text_member(node, "order_no", refuse);
	m.has_amount = payorder_json_bigint(payorder_json_member(node, "amount"),
										&m.amount);
	m.amount_is_total = m.event == EVENT_REFUND &&
		payorder_json_is_true(node, "amount_is_total");
	m.currency = text_member(node, "currency", refuse);
	m.occurred_at = time_member(node, "occurred_at", refuse);
	m.payment_txn = text_member(node, "payment_txn", refuse);
	m.refund_no = text_member(node, "refund_no", refuse);
	m.payload = payload == NULL ? NULL : payorder_json_text(payload);
	return m;
}
