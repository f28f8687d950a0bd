/*-------------------------------------------------------------------------
 *
 * gateway_adyen.c
 *		Standard webhooks of Adyen.
 *
 * A POST holds several items, each signed by itself: the HMAC-SHA256, in
 * base64, of eight of its fields joined by colons, under the webhook's key,
 * which is written in hex.  An item that is wrong is rejected alone; the
 * others stand, but the POST is not acknowledged.
 *
 * Colons in the fields are not escaped, so that "a:b" and "c" would be signed
 * as "a" and "b:c" are: an item with a colon in a signed field is refused, and
 * what is signed can then be split in one way only.  All else is not signed:
 * neither "live", nor the date of the event, nor additionalData with its
 * modification.action.  No time of sending is signed either, so there is no
 * time window: a repeat meets its key and changes nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "crypto.h"
#include "gateway_adapter.h"
#include "relation.h"

#define MOST_ITEMS	1000

/* What is signed, in this order. */
static const char *const signed_fields[] = {
	"pspReference", "originalReference", "merchantAccountCode",
	"merchantReference", "amount.value", "amount.currency", "eventCode",
	"success"
};

#define SIGNED_PARTS	(2 * lengthof(signed_fields) - 1)

/* ---- the signature ---- */

/* A field as it is signed, in UTF-8; one that is missing is empty. */
static Bytes
signed_field(const JsonNode *item, const char *path)
{
	JsonNode   *node = payorder_node_at(item, path);
	char	   *text;

	if (node == NULL)
		return (Bytes) {"", 0};
	if (node->text == NULL || strchr(node->text, ':') != NULL)
		payorder_reject(REJECTED_BODY);
	text = pg_server_to_any(node->text, strlen(node->text), PG_UTF8);
	return (Bytes) {text, strlen(text)};
}

static void
verify(const RawMessage *raw, const JsonNode *item)
{
	const char *given = payorder_string_at(item, "additionalData.hmacSignature");
	Bytes		parts[SIGNED_PARTS];
	uint8		mac[SHA256_BYTES];
	uint8	   *bytes;
	size_t		length;
	bool		found = false;

	for (size_t i = 0; i < SIGNED_PARTS; i++)
		parts[i] = i % 2 == 1 ? (Bytes) {":", 1} :
			signed_field(item, signed_fields[i / 2]);
	bytes = given == NULL ? NULL :
		payorder_unbase64(given, strlen(given), &length);
	if (bytes == NULL || length != SHA256_BYTES)
		payorder_reject(REJECTED_SIGNATURE);
	for (int i = 0; i < raw->key_count && !found; i++)
	{
		payorder_hmac_sha256((Bytes) {raw->keys[i].bytes, raw->keys[i].length},
							 parts, SIGNED_PARTS, mac);
		found = payorder_same_bytes(mac, bytes, SHA256_BYTES);
	}
	if (!found)
		payorder_reject(REJECTED_SIGNATURE);
}

/* ---- what an item says ---- */

static const char *
psp_reference(const JsonNode *item)
{
	return payorder_id_at(item, "pspReference");
}

static const char *
original(const JsonNode *item)
{
	return payorder_id_at(item, "originalReference");
}

static const char *
merchant_reference(const JsonNode *item)
{
	return payorder_id_at(item, "merchantReference");
}

/* Whether a payment is captured in several parts, each of which is a payment. */
static bool
in_parts(const RawMessage *raw)
{
	const char *captures = payorder_string_at(raw->gateway->settings,
											  "captures");

	return captures != NULL && strcmp(captures, "multiple") == 0;
}

static void
set_amount(const RawMessage *raw, Message *m, const JsonNode *item)
{
	payorder_minor_amount(raw, m, payorder_node_at(item, "amount.value"),
						  payorder_string_at(item, "amount.currency"));
}

static void
read_authorisation(const RawMessage *raw, Message *m, const JsonNode *item)
{
	m->txn_id = psp_reference(item);
	m->reference = merchant_reference(item);
	if (m->event == EVENT_PAY)
		set_amount(raw, m, item);
}

/*
 * The one capture of a payment is known by the payment's reference; one of
 * several is a payment of its own.
 */
static void
read_capture(const RawMessage *raw, Message *m, const JsonNode *item)
{
	m->reference = merchant_reference(item);
	m->txn_id = in_parts(raw) ? psp_reference(item) : original(item);
	m->payment_txn = original(item);
	if (m->event == EVENT_PAY && in_parts(raw))
		m->event = EVENT_PAY_PART;
	if (m->event != EVENT_PAY_FAILED)
		set_amount(raw, m, item);
	if (m->event == EVENT_PAY_REVERSED)
		m->payment_txn = m->txn_id;
}

static void
read_closed(const RawMessage *raw, Message *m, const JsonNode *item)
{
	m->payment_txn = original(item);
	m->txn_id = m->payment_txn != NULL ? m->payment_txn : psp_reference(item);
	m->reference = merchant_reference(item);
}

/*
 * Its reference is the refund's number if the request gave one, else the
 * payment's.  A payment in parts is not known by the reference of its
 * authorisation: there the refund's number or the order's finds it.
 */
static void
read_refund(const RawMessage *raw, Message *m, const JsonNode *item)
{
	m->txn_id = psp_reference(item);
	m->refund_no = merchant_reference(item);
	if (in_parts(raw))
		m->reference = m->refund_no;
	else
		m->payment_txn = original(item);
	set_amount(raw, m, item);
}

static void
read_dispute(const RawMessage *raw, Message *m, const JsonNode *item)
{
	m->txn_id = psp_reference(item);
	m->payment_txn = original(item);
	set_amount(raw, m, item);
}

/* The second one of a dispute has its reference, and is a fact of its own. */
static void
read_second_dispute(const RawMessage *raw, Message *m, const JsonNode *item)
{
	read_dispute(raw, m, item);
	if (m->txn_id != NULL)
		m->txn_id = psprintf("%s:2", m->txn_id);
	if (m->txn_id != NULL && !payorder_is_id(m->txn_id))
		payorder_reject(REJECTED_BODY);
}

/*
 * The first row that fits decides; NULL fits any.  Of two events both are
 * said, since an adapter can't see which of them is news:
 *
 * A capture that fails after it was accepted (CAPTURE_FAILED), and a capture
 * that Adyen was to make by itself and could not, undo the payment.  Is it
 * known, pay_failed is stale (line 21) and pay_reversed takes it back (26).
 * Is it not known yet, pay_failed ends the attempt (23), and pay_reversed
 * waits: a pay that comes late is taken back at once.  pay_failed alone would
 * let that late pay stand.
 *
 * A capture that the shop asked for and that was refused (CAPTURE, false)
 * undoes nothing: another may have been accepted, before or after.  So it is
 * pay_failed alone, and stale where there is a payment.
 */
#define FAILED_AND_REVERSED	(EVENT_PAY_FAILED | EVENT_PAY_REVERSED)

static const struct Meaning
{
	const char *code;
	const char *success;
	const char *capture_mode;
	const char *action;			/* additionalData's modification.action */
	int			events;
	void		(*read) (const RawMessage *raw, Message *m,
						 const JsonNode *item);
}			meanings[] =
{
	{"AUTHORISATION", "true", "auto", NULL, EVENT_PAY, read_authorisation},
	{"AUTHORISATION", "true", "manual", NULL, EVENT_AUTHORISED, read_authorisation},
	{"AUTHORISATION", "false", NULL, NULL, EVENT_PAY_FAILED, read_authorisation},
	{"CAPTURE", "true", "manual", NULL, EVENT_PAY, read_capture},
	{"CAPTURE", "false", "manual", NULL, EVENT_PAY_FAILED, read_capture},
	{"CAPTURE", "false", "auto", NULL, FAILED_AND_REVERSED, read_capture},
	{"CAPTURE_FAILED", NULL, NULL, NULL, FAILED_AND_REVERSED, read_capture},
	{"CANCELLATION", "true", NULL, NULL, EVENT_PAY_CLOSED, read_closed},
	{"OFFER_CLOSED", "true", NULL, NULL, EVENT_PAY_CLOSED, read_closed},
	{"TECHNICAL_CANCEL", "true", NULL, NULL, EVENT_PAY_CLOSED, read_closed},
	{"CANCEL_OR_REFUND", "true", NULL, "cancel", EVENT_PAY_CLOSED, read_closed},
	{"CANCEL_OR_REFUND", "true", NULL, "refund", EVENT_REFUND, read_refund},
	{"CANCEL_OR_REFUND", "false", NULL, "refund", EVENT_REFUND_FAILED, read_refund},
	{"REFUND", "true", NULL, NULL, EVENT_REFUND, read_refund},
	{"REFUND", "false", NULL, NULL, EVENT_REFUND_FAILED, read_refund},
	{"REFUND_FAILED", NULL, NULL, NULL, EVENT_REFUND_FAILED, read_refund},
	{"REFUNDED_REVERSED", NULL, NULL, NULL, EVENT_REFUND_FAILED, read_refund},
	{"CHARGEBACK", "true", NULL, NULL, EVENT_CHARGEBACK, read_dispute},
	{"SECOND_CHARGEBACK", "true", NULL, NULL, EVENT_CHARGEBACK, read_second_dispute},
	{"CHARGEBACK_REVERSED", "true", NULL, NULL, EVENT_CHARGEBACK_REVERSED, read_dispute},
};

/* Ignored, but a person may want to know; by how they begin. */
static const char *const noteworthy[] = {
	"NOTIFICATION_OF_", "REQUEST_FOR_INFORMATION", "PREARBITRATION_",
	"CANCEL_OR_REFUND", "CHARGEBACK", "SECOND_CHARGEBACK"
};

static bool
fits(const char *wanted, const char *given)
{
	return wanted == NULL || (given != NULL && strcmp(wanted, given) == 0);
}

static const struct Meaning *
meaning_of(const RawMessage *raw, const JsonNode *item, const char *code)
{
	JsonNode   *success = payorder_node_at(item, "success");
	JsonNode   *action;

	if (success == NULL || (!fits("true", success->text) &&
							!fits("false", success->text)))
		payorder_reject(REJECTED_BODY);
	/* the dot is part of the member's name */
	action = payorder_json_member(payorder_node_at(item, "additionalData"),
								  "modification.action");
	for (size_t i = 0; i < lengthof(meanings); i++)
	{
		const struct Meaning *meaning = &meanings[i];

		if (fits(meaning->code, code) &&
			fits(meaning->success, success->text) &&
			fits(meaning->capture_mode, raw->gateway->capture_mode) &&
			fits(meaning->action, action == NULL ? NULL : action->text))
			return meaning;
	}
	return NULL;
}

static bool
is_noteworthy(const char *code)
{
	for (size_t i = 0; i < lengthof(noteworthy); i++)
	{
		if (strncmp(code, noteworthy[i], strlen(noteworthy[i])) == 0)
			return true;
	}
	return false;
}

/* One Decoded for each of the events of a meaning. */
static List *
read_meaning(const RawMessage *raw, JsonNode *item,
			 const struct Meaning *meaning)
{
	List	   *result = NIL;

	for (int event = 1; event <= meaning->events; event <<= 1)
	{
		Decoded    *decoded;

		if ((meaning->events & event) == 0)
			continue;
		decoded = payorder_decoded(item, event);
		meaning->read(raw, &decoded->message, item);
		if (decoded->message.txn_id == NULL)
			payorder_reject(REJECTED_BODY);
		decoded->message.occurred_at = payorder_time_at(item, "eventDate");
		decoded->own_id = psp_reference(item);
		result = lappend(result, decoded);
	}
	return result;
}

static List *
read_item(const RawMessage *raw, JsonNode *item, bool live)
{
	const char *account;
	const char *code;
	const struct Meaning *meaning;

	if (item == NULL || item->kind != JSON_OBJECT)
		payorder_reject(REJECTED_BODY);
	verify(raw, item);
	account = payorder_string_at(item, "merchantAccountCode");
	if (live != raw->gateway->live || account == NULL ||
		strcmp(account, raw->gateway->merchant_id) != 0)
		payorder_reject(REJECTED_MERCHANT);
	code = payorder_string_at(item, "eventCode");
	if (code == NULL)
		payorder_reject(REJECTED_BODY);
	meaning = meaning_of(raw, item, code);
	if (meaning == NULL)
		return list_make1(payorder_ignored(item, code, is_noteworthy(code)));
	return read_meaning(raw, item, meaning);
}

/* An item that is rejected does not undo the others. */
static List *
try_item(const RawMessage *raw, JsonNode *element, bool live)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *volatile result = NIL;

	PG_TRY();
	{
		result = read_item(raw, payorder_node_at(element,
												 "NotificationRequestItem"),
						   live);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		Decoded    *decoded;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (payorder_rejection(error) == NULL)
			PG_RE_THROW();
		FlushErrorState();
		decoded = payorder_decoded(element, 0);
		decoded->rejected = payorder_rejection(error);
		result = list_make1(decoded);
	}
	PG_END_TRY();
	return result;
}

static bool
read_live(const JsonNode *body)
{
	JsonNode   *live = payorder_node_at(body, "live");

	if (live == NULL || (!fits("true", live->text) &&
						 !fits("false", live->text)))
		payorder_reject(REJECTED_BODY);
	return fits("true", live->text);
}

static List *
decode(const RawMessage *raw)
{
	JsonNode   *body;
	JsonNode   *items;
	List	   *result = NIL;
	int			count = 0;
	bool		live;

	if (raw->key_count == 0)
		payorder_reject(REJECTED_KEY);
	body = payorder_body_json(raw->body, raw->length);
	live = read_live(body);
	items = payorder_node_at(body, "notificationItems");
	if (items == NULL || items->kind != JSON_ARRAY || items->first == NULL)
		payorder_reject(REJECTED_BODY);
	for (JsonNode *element = items->first; element; element = element->next)
	{
		if (++count > MOST_ITEMS)
			payorder_reject(REJECTED_SIZE);
	}
	for (JsonNode *element = items->first; element; element = element->next)
		result = list_concat(result, try_item(raw, element, live));
	return result;
}

/* ---- settings ---- */

static const char *const known_settings[] = {"captures", NULL};

static void
check(const GatewayProfile *gateway)
{
	JsonNode   *captures = payorder_node_at(gateway->settings, "captures");
	bool		multiple = captures != NULL && fits("multiple", captures->text);

	payorder_check_setting_names(gateway, known_settings);
	if (gateway->capture_mode == NULL)
		payorder_wrong_setting("capture_mode",
							   "Say \"auto\" or \"manual\", as the account captures at Adyen: it decides which message is the payment.");
	if (captures != NULL && !multiple && !fits("single", captures->text))
		payorder_wrong_setting("captures", "Say \"single\" or \"multiple\".");
	if (multiple && strcmp(gateway->capture_mode, "manual") != 0)
		payorder_wrong_setting("captures",
							   "\"multiple\" needs the capture_mode \"manual\".");
}

static const char *const kept_headers[] = {NULL};

const Adapter payorder_adapter_adyen = {
	.name = "adyen",
	/* CLP, CVE, IDR and ISK: docs.adyen.com, currency codes */
	.defaults = "{\"exponents\": {\"CLP\": 2, \"CVE\": 0, \"IDR\": 0, \"ISK\": 2}}",
	.verify_with = KEY_SECRET_HEX,
	.accepted = {202, "text/plain", "[accepted]"},
	.refused = {400, "text/plain", "refused"},
	.later = {503, "text/plain", "try again later"},
	.kept_headers = kept_headers,
	.check = check,
	.decode = decode
};
