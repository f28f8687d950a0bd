/*-------------------------------------------------------------------------
 *
 * gateway_stripe.c
 *		Webhooks of Stripe.
 *
 * Stripe-Signature: t=<unix time>,v1=<hex>[,v1=<hex>]...  Each v1 is the
 * HMAC-SHA256 of "<t>.<body>" under the endpoint's secret, taken as the whole
 * string with its "whsec_"; other schemes are passed over, and one v1 that is
 * right for one valid secret suffices (docs.stripe.com/webhooks, stripe-go's
 * webhook/client.go).  A payment is known by its PaymentIntent alone: charges,
 * checkout sessions and invoices say the same again, and are ignored.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#include "crypto.h"
#include "gateway_adapter.h"

/* What a signature header says. */
typedef struct Signature
{
	const char *time;			/* as it was signed */
	int			count;
	uint8		macs[16][SHA256_BYTES];
} Signature;

/* What comes after "name=" in an item, NULL if that is not its name. */
static const char *
value_of(const char *item, const char *name)
{
	size_t		length = strlen(name);

	return strncmp(item, name, length) == 0 && item[length] == '=' ?
		item + length + 1 : NULL;
}

static void
read_item(Signature *signature, const char *item)
{
	const char *equals = strchr(item, '=');
	const char *value;

	if (equals == NULL || strchr(equals + 1, '=') != NULL)
		payorder_reject(REJECTED_HEADER);
	if ((value = value_of(item, "t")) != NULL)
	{
		if (signature->time != NULL)
			payorder_reject(REJECTED_HEADER);
		signature->time = value;
	}
	else if ((value = value_of(item, "v1")) != NULL &&
			 strlen(value) == 2 * SHA256_BYTES &&
			 signature->count < (int) lengthof(signature->macs) &&
			 payorder_unhex(value, 2 * SHA256_BYTES,
							signature->macs[signature->count]))
		signature->count++;
}

static void
read_signature(Signature *signature, const char *header)
{
	char	   *rest = pstrdup(header);
	char	   *item;

	signature->time = NULL;
	signature->count = 0;
	while ((item = strsep(&rest, ",")) != NULL)
		read_item(signature, item);
	if (signature->time == NULL)
		payorder_reject(REJECTED_HEADER);
}

static bool
matches(const Signature *signature, const GatewayKey *key,
		const RawMessage *raw)
{
	Bytes		parts[] = {
		{signature->time, strlen(signature->time)}, {".", 1},
		{raw->body, raw->length}
	};
	uint8		mac[SHA256_BYTES];
	bool		found = false;

	payorder_hmac_sha256((Bytes) {key->bytes, key->length}, parts,
						 lengthof(parts), mac);
	for (int i = 0; i < signature->count; i++)
		found |= payorder_same_bytes(mac, signature->macs[i], SHA256_BYTES);
	return found;
}

static void
verify(const RawMessage *raw)
{
	Signature	signature;
	bool		found = false;
	int64		time;

	if (raw->key_count == 0)
		payorder_reject(REJECTED_KEY);
	read_signature(&signature,
				   payorder_required_header(raw, "stripe-signature"));
	time = payorder_unix_time(signature.time);
	for (int i = 0; i < raw->key_count && !found; i++)
		found = matches(&signature, &raw->keys[i], raw);
	if (!found)
		payorder_reject(REJECTED_SIGNATURE);
	payorder_check_window(raw, time);
}

/* ---- what it says ---- */

/* An id, also where the API version expands it to the object. */
static const char *
id_or_object(const JsonNode *object, const char *name)
{
	JsonNode   *node = payorder_node_at(object, name);

	return node != NULL && node->kind == JSON_OBJECT ?
		payorder_id_at(node, "id") : payorder_id_at(object, name);
}

static void
set_amount(const RawMessage *raw, Message *m, const JsonNode *object,
		   const char *name)
{
	const char *currency = payorder_string_at(object, "currency");

	if (currency != NULL)
		currency = asc_toupper(currency, strlen(currency));
	payorder_minor_amount(raw, m, payorder_node_at(object, name), currency);
}

static void
read_pay(const RawMessage *raw, Message *m, const JsonNode *object)
{
	m->txn_id = payorder_id_at(object, "id");
	m->reference = payorder_id_at(object, "metadata.payment_no");
	set_amount(raw, m, object, "amount_received");
}

/* The same PaymentIntent can fail many times: the try is its charge. */
static void
read_failed(const RawMessage *raw, Message *m, const JsonNode *object)
{
	m->payment_txn = payorder_id_at(object, "id");
	m->reference = payorder_id_at(object, "metadata.payment_no");
	m->txn_id = id_or_object(object, "latest_charge");
	if (m->txn_id == NULL)
		m->txn_id = payorder_id_at(object, "last_payment_error.charge");
}

static void
read_closed(const RawMessage *raw, Message *m, const JsonNode *object)
{
	m->txn_id = payorder_id_at(object, "id");
	m->reference = payorder_id_at(object, "metadata.payment_no");
}

static void
read_refund(const RawMessage *raw, Message *m, const JsonNode *object)
{
	m->txn_id = payorder_id_at(object, "id");
	m->payment_txn = id_or_object(object, "payment_intent");
	m->refund_no = payorder_id_at(object, "metadata.refund_no");
	set_amount(raw, m, object, "amount");
}

static void
read_dispute(const RawMessage *raw, Message *m, const JsonNode *object)
{
	m->txn_id = payorder_id_at(object, "id");
	m->payment_txn = id_or_object(object, "payment_intent");
	if (m->event != EVENT_CHARGEBACK_LOST)
		set_amount(raw, m, object, "amount");
}

/* The first row that fits decides; a NULL status fits any. */
static const struct Meaning
{
	const char *type;
	const char *status;
	MessageEvent event;
	void		(*read) (const RawMessage *raw, Message *m,
						 const JsonNode *object);
}			meanings[] =
{
	{"payment_intent.succeeded", NULL, EVENT_PAY, read_pay},
	{"payment_intent.payment_failed", NULL, EVENT_PAY_FAILED, read_failed},
	{"payment_intent.canceled", NULL, EVENT_PAY_CLOSED, read_closed},
	{"refund.created", "succeeded", EVENT_REFUND, read_refund},
	{"refund.updated", "succeeded", EVENT_REFUND, read_refund},
	{"charge.refund.updated", "succeeded", EVENT_REFUND, read_refund},
	{"refund.failed", NULL, EVENT_REFUND_FAILED, read_refund},
	{"refund.created", "failed", EVENT_REFUND_FAILED, read_refund},
	{"refund.updated", "failed", EVENT_REFUND_FAILED, read_refund},
	{"refund.updated", "canceled", EVENT_REFUND_FAILED, read_refund},
	{"charge.refund.updated", "failed", EVENT_REFUND_FAILED, read_refund},
	{"charge.refund.updated", "canceled", EVENT_REFUND_FAILED, read_refund},
	{"charge.dispute.funds_withdrawn", NULL, EVENT_CHARGEBACK, read_dispute},
	{"charge.dispute.funds_reinstated", NULL, EVENT_CHARGEBACK_REVERSED, read_dispute},
	{"charge.dispute.closed", "lost", EVENT_CHARGEBACK_LOST, read_dispute},
};

static const struct Meaning *
meaning_of(const char *type, const char *status)
{
	for (size_t i = 0; i < lengthof(meanings); i++)
	{
		if (strcmp(meanings[i].type, type) == 0 &&
			(meanings[i].status == NULL ||
			 (status != NULL && strcmp(meanings[i].status, status) == 0)))
			return &meanings[i];
	}
	return NULL;
}

/* A live endpoint takes no test events, nor those of another account. */
static void
check_account(const RawMessage *raw, const JsonNode *event)
{
	JsonNode   *livemode = payorder_node_at(event, "livemode");
	const char *account = payorder_string_at(event, "account");

	if (livemode == NULL || livemode->kind != JSON_BOOLEAN)
		payorder_reject(REJECTED_BODY);
	if (payorder_json_is_true(event, "livemode") != raw->gateway->live ||
		(account != NULL && strcmp(account, raw->gateway->merchant_id) != 0))
		payorder_reject(REJECTED_MERCHANT);
}

static List *
decode(const RawMessage *raw)
{
	JsonNode   *event;
	JsonNode   *object;
	const char *type;
	const struct Meaning *meaning;
	Decoded    *decoded;

	verify(raw);
	event = payorder_body_json(raw->body, raw->length);
	type = payorder_string_at(event, "type");
	if (type == NULL)
		payorder_reject(REJECTED_BODY);
	check_account(raw, event);
	object = payorder_node_at(event, "data.object");
	meaning = meaning_of(type, payorder_string_at(object, "status"));
	if (meaning == NULL)
		return list_make1(payorder_ignored(event, type,
										   strncmp(type, "charge.dispute.", 15) == 0 ||
										   strncmp(type, "radar.early_fraud_warning.", 26) == 0));
	decoded = payorder_decoded(event, meaning->event);
	meaning->read(raw, &decoded->message, object);
	if (decoded->message.txn_id == NULL && meaning->event == EVENT_PAY_FAILED)
		decoded->message.txn_id = payorder_id_at(event, "id");
	if (decoded->message.txn_id == NULL)
		payorder_reject(REJECTED_BODY);
	decoded->message.occurred_at = payorder_time_at(event, "created");
	return list_make1(decoded);
}

static const char *const kept_headers[] = {"stripe-signature", NULL};

const Adapter payorder_adapter_stripe = {
	.name = "stripe",
	.defaults = "{\"pay_id_pattern\": \"^pi_[A-Za-z0-9_]+$\","
	" \"failed_is_final\": false, \"idempotency_window\": \"24 hours\","
	" \"exponents\": {\"ISK\": 2, \"UGX\": 2}}",
	.verify_with = KEY_SECRET,
	.accepted = {200, "text/plain", ""},
	.refused = {400, "text/plain", "refused"},
	.later = {503, "text/plain", "try again later"},
	.kept_headers = kept_headers,
	.decode = decode
};
