/*-------------------------------------------------------------------------
 *
 * gateway_wechatpay.c
 *		Notices of WeChat Pay, APIv3.
 *
 * Wechatpay-Signature is that of "<timestamp>\n<nonce>\n<body>\n", by RSA with
 * SHA-256, under the key whose serial or id Wechatpay-Serial names: that of a
 * platform certificate, or PUB_KEY_ID_... of WeChat Pay's public key.  While a
 * merchant moves from one to the other both arrive.  The resource in the body
 * is sealed by AES-256-GCM under the APIv3 key, of which several may be valid;
 * nothing is opened before the signature is right.
 *
 * Signatures that begin with WECHATPAY/SIGNTEST/ are WeChat Pay's test whether
 * signatures are looked at, and must be refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "crypto.h"
#include "gateway_adapter.h"
#include "relation.h"

#define PROBE			"WECHATPAY/SIGNTEST/"
#define SIGNATURE_TYPE	"WECHATPAY2-SHA256-RSA2048"
#define ALGORITHM		"AEAD_AES_256_GCM"

#define LONGEST_HEADER	128
#define LONGEST_SIGNATURE	2048	/* base64 of a key of 12288 bits */
#define LONGEST_AAD		15

/* What the headers say. */
typedef struct Signature
{
	const char *time;
	const char *nonce;
	const char *serial;
	Bytes		bytes;
} Signature;

/*
 * A header of visible ASCII: a line break in the nonce would let the signed
 * text be split in another way.
 */
static const char *
visible_header(const RawMessage *raw, const char *name)
{
	const char *value = payorder_required_header(raw, name);
	size_t		length = 0;

	for (; value[length] > ' ' && value[length] <= '~'; length++)
	{
		if (length == LONGEST_HEADER)
			payorder_reject(REJECTED_HEADER);
	}
	if (value[length] != '\0')
		payorder_reject(REJECTED_HEADER);
	return value;
}

static Bytes
read_base64(const char *text, const char *reason)
{
	size_t		length;
	uint8	   *bytes = payorder_unbase64(text, strlen(text), &length);

	if (bytes == NULL)
		payorder_reject(reason);
	return (Bytes) {bytes, length};
}

static void
read_signature(const RawMessage *raw, Signature *signature)
{
	const char *type;
	const char *text = payorder_required_header(raw, "wechatpay-signature");

	if (strncmp(text, PROBE, strlen(PROBE)) == 0)
		payorder_reject(REJECTED_PROBE);
	type = payorder_header(raw, "wechatpay-signature-type");
	if (type != NULL && strcmp(type, SIGNATURE_TYPE) != 0)
		payorder_reject(REJECTED_HEADER);
	signature->time = visible_header(raw, "wechatpay-timestamp");
	signature->nonce = visible_header(raw, "wechatpay-nonce");
	signature->serial = visible_header(raw, "wechatpay-serial");
	if (strlen(text) > LONGEST_SIGNATURE)
		payorder_reject(REJECTED_HEADER);
	signature->bytes = read_base64(text, REJECTED_HEADER);
}

static const GatewayKey *
find_key(const RawMessage *raw, const char *serial)
{
	for (int i = 0; i < raw->key_count; i++)
	{
		if (raw->keys[i].purpose == KEY_VERIFY &&
			strcmp(raw->keys[i].key_id, serial) == 0)
			return &raw->keys[i];
	}
	payorder_reject(REJECTED_KEY);
}

static void
verify(const RawMessage *raw)
{
	Signature	signature;
	const GatewayKey *key;

	read_signature(raw, &signature);
	payorder_check_window(raw, payorder_unix_time(signature.time));
	key = find_key(raw, signature.serial);
	if (!payorder_rsa_sha256_verify((Bytes) {key->bytes, key->length},
									(Bytes[]) {
									{signature.time, strlen(signature.time)},
									{"\n", 1},
									{signature.nonce, strlen(signature.nonce)},
									{"\n", 1},
									{raw->body, raw->length},
									{"\n", 1}
									}, 6, signature.bytes))
		payorder_reject(REJECTED_SIGNATURE);
}

/* ---- what is sealed ---- */

/* A text of the body in UTF-8, as it was when it was sealed. */
static Bytes
sealed_with(const JsonNode *resource, const char *name)
{
	JsonNode   *node = payorder_node_at(resource, name);
	const char *text;

	if (node == NULL)
		return (Bytes) {"", 0};
	if (node->kind != JSON_STRING)
		payorder_reject(REJECTED_BODY);
	text = pg_server_to_any(node->text, (int) strlen(node->text), PG_UTF8);
	return (Bytes) {text, strlen(text)};
}

/* The first of the keys that opens it; without any, one may yet come. */
static uint8 *
open_sealed(const RawMessage *raw, Bytes nonce, Bytes aad, Bytes sealed)
{
	uint8	   *plain = palloc0(sealed.length + 1);
	const char *reason = REJECTED_KEY;

	for (int i = 0; i < raw->key_count; i++)
	{
		const GatewayKey *key = &raw->keys[i];

		if (key->purpose != KEY_DECRYPT)
			continue;
		if (payorder_aes256_gcm_decrypt((Bytes) {key->bytes, key->length},
										nonce, aad, sealed, plain))
			return plain;
		reason = REJECTED_DECRYPT;
	}
	payorder_reject(reason);
}

static JsonNode *
open_resource(const RawMessage *raw, const JsonNode *resource)
{
	const char *algorithm = payorder_string_at(resource, "algorithm");
	const char *text = payorder_string_at(resource, "ciphertext");
	Bytes		nonce = sealed_with(resource, "nonce");
	Bytes		aad = sealed_with(resource, "associated_data");
	Bytes		sealed;

	if (algorithm == NULL || strcmp(algorithm, ALGORITHM) != 0 ||
		nonce.length != GCM_NONCE_BYTES || aad.length > LONGEST_AAD ||
		text == NULL)
		payorder_reject(REJECTED_BODY);
	sealed = read_base64(text, REJECTED_BODY);
	if (sealed.length < GCM_TAG_BYTES)
		payorder_reject(REJECTED_BODY);
	return payorder_body_json((char *) open_sealed(raw, nonce, aad, sealed),
							  sealed.length - GCM_TAG_BYTES);
}

/* The envelope with what was in it, for people to read. */
static JsonNode *
opened(const JsonNode *envelope, JsonNode *resource)
{
	static const char *const kept[] = {"id", "event_type", "create_time"};
	JsonNode   *payload = payorder_json_new_object();

	for (int i = 0; i < (int) lengthof(kept); i++)
	{
		const char *text = payorder_string_at(envelope, kept[i]);

		if (text != NULL)
			payorder_json_add(payload, kept[i], payorder_json_string(text));
	}
	payorder_json_add(payload, "resource", resource);
	return payload;
}

/* ---- what it says ---- */

static void
read_pay(const RawMessage *raw, Message *m, const JsonNode *resource)
{
	m->txn_id = payorder_id_at(resource, "transaction_id");
	payorder_minor_amount(raw, m, payorder_node_at(resource, "amount.total"),
						  payorder_string_at(resource, "amount.currency"));
}

/* A notice names no currency: it is the payment's. */
static void
read_refund(const RawMessage *raw, Message *m, const JsonNode *resource)
{
	m->txn_id = payorder_id_at(resource, "refund_id");
	m->payment_txn = payorder_id_at(resource, "transaction_id");
	m->refund_no = payorder_id_at(resource, "out_refund_no");
	payorder_minor_amount(raw, m, payorder_node_at(resource, "amount.refund"),
						  payorder_string_at(resource, "amount.currency"));
}

static const struct Meaning
{
	const char *type;
	const char *status_name;
	const char *status;
	MessageEvent event;
	bool		names_app;
	void		(*read) (const RawMessage *raw, Message *m,
						 const JsonNode *resource);
}			meanings[] =
{
	{"TRANSACTION.SUCCESS", "trade_state", "SUCCESS", EVENT_PAY, true, read_pay},
	{"REFUND.SUCCESS", "refund_status", "SUCCESS", EVENT_REFUND, false, read_refund},
	{"REFUND.CLOSED", "refund_status", "CLOSED", EVENT_REFUND_FAILED, false, read_refund},
	{"REFUND.ABNORMAL", "refund_status", "ABNORMAL", EVENT_REFUND_STUCK, false, read_refund},
};

static const struct Meaning *
meaning_of(const char *type)
{
	for (int i = 0; i < (int) lengthof(meanings); i++)
	{
		if (strcmp(meanings[i].type, type) == 0)
			return &meanings[i];
	}
	return NULL;
}

/* What is there must be right; what must be there is "needed". */
static void
check_same(const JsonNode *resource, const char *name, const char *ours,
		   bool needed)
{
	JsonNode   *node = payorder_node_at(resource, name);

	if (node == NULL ? needed :
		node->kind != JSON_STRING || strcmp(node->text, ours) != 0)
		payorder_reject(REJECTED_MERCHANT);
}

static List *
decode(const RawMessage *raw)
{
	JsonNode   *envelope;
	JsonNode   *resource;
	JsonNode   *payload;
	const char *type;
	const char *status;
	const struct Meaning *meaning;
	Decoded    *decoded;

	verify(raw);
	envelope = payorder_body_json(raw->body, raw->length);
	type = payorder_id_at(envelope, "event_type");
	if (type == NULL || payorder_id_at(envelope, "id") == NULL)
		payorder_reject(REJECTED_BODY);
	resource = open_resource(raw, payorder_node_at(envelope, "resource"));
	payload = opened(envelope, resource);
	meaning = meaning_of(type);
	check_same(resource, "mchid", raw->gateway->merchant_id, meaning != NULL);
	check_same(resource, "appid", raw->gateway->app_scope,
			   meaning != NULL && meaning->names_app);
	if (meaning == NULL)
		return list_make1(payorder_ignored(payload, type, false));
	status = payorder_string_at(resource, meaning->status_name);
	if (status == NULL || strcmp(status, meaning->status) != 0)
		return list_make1(payorder_ignored(payload, type, true));
	decoded = payorder_decoded(payload, meaning->event);
	meaning->read(raw, &decoded->message, resource);
	decoded->message.reference = payorder_id_at(resource, "out_trade_no");
	if (decoded->message.txn_id == NULL)
		payorder_reject(REJECTED_BODY);
	decoded->message.occurred_at = payorder_time_at(resource, "success_time");
	if (decoded->message.occurred_at == NO_TIME)
		decoded->message.occurred_at = payorder_time_at(envelope, "create_time");
	return list_make1(decoded);
}

/* The settings say which app's payments these are. */
static void
check(const GatewayProfile *gateway)
{
	if (gateway->app_scope[0] == '\0')
		payorder_wrong_setting("app_scope",
							   "Give the appid of the app or mini program whose payments these are.");
}

static const char *const kept_headers[] = {
	"wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature",
	"wechatpay-serial", "wechatpay-signature-type", "request-id", NULL
};

/* "失败", failed, in UTF-8 */
#define FAILED "{\"code\":\"FAIL\",\"message\":\"\xe5\xa4\xb1\xe8\xb4\xa5\"}"

const Adapter payorder_adapter_wechatpay = {
	.name = "wechatpay",
	.defaults = "{\"pay_id_pattern\": \"^[0-9]{10,32}$\"}",
	.verify_with = KEY_RSA,
	.decrypt_with = KEY_SECRET_32,
	.accepted = {200, "text/plain", ""},
	.refused = {400, "application/json", FAILED},
	.later = {503, "application/json", FAILED},
	.kept_headers = kept_headers,
	.check = check,
	.decode = decode
};
