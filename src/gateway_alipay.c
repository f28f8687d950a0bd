/*-------------------------------------------------------------------------
 *
 * gateway_alipay.c
 *		Notices of Alipay (mainland).
 *
 * A notice is a form.  "sign" is the RSA signature with SHA-256 (RSA2; nothing
 * that the form says makes it another) of the fields "<name>=<value>", sorted
 * by name and joined by "&", as decoded bytes.  SDKs and senders differ in
 * whether empty fields, sign_type and alipay_cert_sn are part of it: see
 * matches().  Only then the bytes are read as text, in the charset that was
 * signed.
 *
 * What is signed has no escapes: with a value that holds "&total_amount=1"
 * the same signature fits a form with other fields.  So a form in which a value
 * hides a field that means something here is rejected.
 *
 * A notice that tells of a refund tells of the payment as well, and may be the
 * first to do so: it is two messages.  refund_fee is the total of the trade's
 * refunds so far; Alipay has no id of a single one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "crypto.h"
#include "gateway_adapter.h"
#include "gateway_form.h"
#include "relation.h"

#define CURRENCY		"CNY"
#define LONGEST_SIGNATURE	2048	/* base64 of a key of 12288 bits */

/* Fields whose value decides something. */
static const char *const read_fields[] = {
	"alipay_cert_sn", "app_id", "charset", "gmt_close", "gmt_payment",
	"gmt_refund", "msg_method", "notify_time", "notify_type", "out_biz_no",
	"out_trade_no", "refund_fee", "seller_id", "sign_type", "total_amount",
	"trade_no", "trade_status"
};

/* ---- what is signed ---- */

/* Which fields that some leave out are signed. */
#define WITH_EMPTY		1
#define WITH_SIGN_TYPE	2
#define WITHOUT_CERT	4
#define ALL_WAYS		7

static bool
is_signed(const FormField *field, int way)
{
	if (strcmp(field->name, "sign") == 0)
		return false;
	if (strcmp(field->name, "sign_type") == 0)
		return (way & WITH_SIGN_TYPE) != 0;
	if (strcmp(field->name, "alipay_cert_sn") == 0)
		return (way & WITHOUT_CERT) == 0;
	return field->length > 0 || (way & WITH_EMPTY) != 0;
}

/* The pieces of what is signed; there is room for four of each field. */
static int
signed_pieces(const Form *form, int way, Bytes *pieces)
{
	int			count = 0;

	for (int i = 0; i < form->count; i++)
	{
		const FormField *field = &form->fields[i];

		if (!is_signed(field, way))
			continue;
		if (count > 0)
			pieces[count++] = (Bytes) {"&", 1};
		pieces[count++] = (Bytes) {field->name, strlen(field->name)};
		pieces[count++] = (Bytes) {"=", 1};
		pieces[count++] = (Bytes) {field->value, field->length};
	}
	return count;
}

/* The ways that make a difference to this form. */
static int
ways_of(const Form *form)
{
	int			ways = 0;

	for (int i = 0; i < form->count; i++)
	{
		if (form->fields[i].length == 0)
			ways |= WITH_EMPTY;
	}
	/* in notices of trades it is never signed */
	if (payorder_form_field(form, "sign_type") != NULL &&
		payorder_form_field(form, "trade_status") == NULL)
		ways |= WITH_SIGN_TYPE;
	if (payorder_form_field(form, "alipay_cert_sn") != NULL)
		ways |= WITHOUT_CERT;
	return ways;
}

static bool
fits(const RawMessage *raw, const char *serial, Bytes signature,
	 const Bytes *pieces, int count)
{
	for (int i = 0; i < raw->key_count; i++)
	{
		const GatewayKey *key = &raw->keys[i];

		if ((serial == NULL || strcmp(key->key_id, serial) == 0) &&
			payorder_rsa_sha256_verify((Bytes) {key->bytes, key->length},
									   pieces, count, signature))
			return true;
	}
	return false;
}

/*
 * Whether the signature is right in one of the ways: without empty fields and
 * sign_type first, as the Java SDK does it.
 */
static bool
matches(const RawMessage *raw, const Form *form, const char *serial,
		Bytes signature)
{
	Bytes	   *pieces = palloc(4 * (form->count + 1) * sizeof(Bytes));
	int			ways = ways_of(form);

	for (int way = 0; way <= ALL_WAYS; way++)
	{
		if ((way & ~ways) != 0 ||
			!fits(raw, serial, signature, pieces,
				  signed_pieces(form, way, pieces)))
			continue;
		ereport(DEBUG1,
				(errmsg_internal("an Alipay signature is right with%s empty fields, with%s sign_type, with%s alipay_cert_sn",
								 way & WITH_EMPTY ? "" : "out",
								 way & WITH_SIGN_TYPE ? "" : "out",
								 way & WITHOUT_CERT ? "out" : "")));
		return true;
	}
	return false;
}

/* ---- whether it is right ---- */

/* The bytes of a field, NULL if it is missing or empty. */
static const char *
field_bytes(const Form *form, const char *name)
{
	const FormField *field = payorder_form_field(form, name);

	return field == NULL ? NULL : field->value;
}

static bool
is_field(const Form *form, const char *name, const char *value)
{
	const char *bytes = field_bytes(form, name);

	return bytes != NULL && strcmp(bytes, value) == 0;
}

/* Whether "name=value" begins with a field whose value decides something. */
static bool
is_read(const char *text)
{
	for (int i = 0; i < (int) lengthof(read_fields); i++)
	{
		size_t		length = strlen(read_fields[i]);

		if (strncmp(text, read_fields[i], length) == 0 && text[length] == '=')
			return true;
	}
	return false;
}

static void
check_unambiguous(const Form *form)
{
	for (int i = 0; i < form->count; i++)
	{
		const char *next = form->fields[i].value;

		while ((next = strchr(next, '&')) != NULL)
		{
			if (is_read(++next))
				payorder_reject(REJECTED_BODY);
		}
	}
}

/* "2026-05-01 10:00:00", in China; milliseconds may follow. */
static TimestampTz
china_time(const char *text)
{
	TimestampTz time;

	if (text == NULL || strpbrk(text, "Z+T") != NULL || strlen(text) > 32 ||
		!payorder_iso_time(psprintf("%s+08:00", text), &time))
		return NO_TIME;
	return time;
}

static int64
unix_seconds(TimestampTz time)
{
	return time / USECS_PER_SEC +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* Notices of trades must say when they were sent; others have no effect. */
static void
check_time(const RawMessage *raw, const Form *form)
{
	const char *text = field_bytes(form, "notify_time");
	TimestampTz sent = china_time(text);

	if (sent != NO_TIME)
		payorder_check_window(raw, unix_seconds(sent));
	else if (text != NULL || field_bytes(form, "trade_status") != NULL)
		payorder_reject(REJECTED_BODY);
}

static void
verify(const RawMessage *raw, const Form *form)
{
	const char *sign = field_bytes(form, "sign");
	const char *serial = field_bytes(form, "alipay_cert_sn");
	Bytes		signature = {NULL, 0};
	bool		known = false;

	if (sign == NULL || strlen(sign) > LONGEST_SIGNATURE ||
		(field_bytes(form, "sign_type") != NULL &&
		 !is_field(form, "sign_type", "RSA2")))
		payorder_reject(REJECTED_SIGNATURE);
	signature.data = payorder_unbase64(sign, strlen(sign), &signature.length);
	if (signature.data == NULL)
		payorder_reject(REJECTED_SIGNATURE);
	check_unambiguous(form);
	check_time(raw, form);
	for (int i = 0; i < raw->key_count; i++)
		known |= serial == NULL || strcmp(raw->keys[i].key_id, serial) == 0;
	if (!known)
		payorder_reject(REJECTED_KEY);
	if (!matches(raw, form, serial, signature))
		payorder_reject(REJECTED_SIGNATURE);
}

/* ---- as text ---- */

static const struct Charset
{
	const char *name;
	int			encoding;
}			charsets[] =
{
	{"utf-8", PG_UTF8},
	{"gbk", PG_GBK},
	{"gb2312", PG_GBK},			/* which holds it */
	{"gb18030", PG_GB18030},
};

static int
encoding_of(const Form *form)
{
	const char *charset = field_bytes(form, "charset");

	for (int i = 0; charset != NULL && i < (int) lengthof(charsets); i++)
	{
		if (pg_strcasecmp(charset, charsets[i].name) == 0)
			return charsets[i].encoding;
	}
	payorder_reject(REJECTED_BODY);
}

/* By way of UTF-8, for which the server has all conversions. */
static char *
to_server(const FormField *field, int encoding)
{
	char	   *text = (char *) pg_do_encoding_conversion((unsigned char *) unconstify(char *, field->value),
														  (int) field->length,
														  encoding, PG_UTF8);

	return pg_any_to_server(text, (int) strlen(text), PG_UTF8);
}

/* The fields as an object, without the signature. */
static JsonNode *
as_object(const Form *form)
{
	JsonNode   *object = payorder_json_new_object();
	int			encoding = encoding_of(form);

	for (int i = 0; i < form->count; i++)
	{
		if (strcmp(form->fields[i].name, "sign") != 0)
			payorder_json_add(object, form->fields[i].name,
							  payorder_json_string(to_server(&form->fields[i],
															 encoding)));
	}
	return object;
}

/* ---- what it says ---- */

static TimestampTz
time_at(const JsonNode *notice, const char *name)
{
	return china_time(payorder_string_at(notice, name));
}

static void
read_pay(const RawMessage *raw, Message *m, const JsonNode *notice)
{
	m->txn_id = payorder_id_at(notice, "trade_no");
	payorder_decimal_amount(raw, m,
							payorder_string_at(notice, "total_amount"),
							CURRENCY);
	m->occurred_at = time_at(notice, "gmt_payment");
}

/* The trade and the shop's own number; without one, that is the order's. */
static void
read_refund(const RawMessage *raw, Message *m, const JsonNode *notice)
{
	const char *number;

	m->payment_txn = payorder_id_at(notice, "trade_no");
	m->refund_no = payorder_id_at(notice, "out_biz_no");
	number = m->refund_no != NULL ? m->refund_no :
		payorder_id_at(notice, "out_trade_no");
	if (m->payment_txn == NULL || strchr(m->payment_txn, ':') != NULL ||
		number == NULL)
		payorder_reject(REJECTED_BODY);
	m->txn_id = psprintf("%s:%s", m->payment_txn, number);
	if (!payorder_is_id(m->txn_id))
		payorder_reject(REJECTED_BODY);
	payorder_decimal_amount(raw, m, payorder_string_at(notice, "refund_fee"),
							CURRENCY);
	m->amount_is_total = true;
	m->occurred_at = time_at(notice, "gmt_refund");
}

/* Nothing was paid: the key is the number that a close answers with. */
static void
read_closed(const RawMessage *raw, Message *m, const JsonNode *notice)
{
	m->txn_id = payorder_id_at(notice, "out_trade_no");
	m->occurred_at = time_at(notice, "gmt_close");
}

/* In the order in which a notice's messages are taken. */
static const struct Reading
{
	MessageEvent event;
	void		(*read) (const RawMessage *raw, Message *m,
						 const JsonNode *notice);
}			readings[] =
{
	{EVENT_PAY, read_pay},
	{EVENT_REFUND, read_refund},
	{EVENT_PAY_CLOSED, read_closed},
};

static const struct Meaning
{
	const char *status;
	int			paid;			/* events without a refund */
	int			refunded;		/* and with one */
}			meanings[] =
{
	{"TRADE_SUCCESS", EVENT_PAY, EVENT_PAY | EVENT_REFUND},
	{"TRADE_FINISHED", EVENT_PAY, EVENT_PAY | EVENT_REFUND},
	{"TRADE_CLOSED", EVENT_PAY_CLOSED, EVENT_PAY | EVENT_REFUND},
};

/*
 * Whether a notice tells of a refund.  A fee of nothing is none.  out_biz_no
 * alone says too little of a trade that was closed to call it paid.
 */
static bool
tells_refund(const JsonNode *notice, const char *status)
{
	const char *fee = payorder_string_at(notice, "refund_fee");
	int64		amount;

	if (fee != NULL && fee[0] != '\0' &&
		(!payorder_decimal(fee, 2, &amount) || amount != 0))
		return true;
	return payorder_id_at(notice, "gmt_refund") != NULL ||
		(payorder_id_at(notice, "out_biz_no") != NULL &&
		 strcmp(status, "TRADE_CLOSED") != 0);
}

static int
events_of(const JsonNode *notice, const char *status)
{
	for (int i = 0; i < (int) lengthof(meanings); i++)
	{
		if (strcmp(meanings[i].status, status) == 0)
			return tells_refund(notice, status) ? meanings[i].refunded :
				meanings[i].paid;
	}
	return 0;
}

static Decoded *
read_notice(const RawMessage *raw, JsonNode *notice,
			const struct Reading *reading)
{
	Decoded    *decoded = payorder_decoded(notice, reading->event);
	Message    *m = &decoded->message;

	m->reference = payorder_id_at(notice, "out_trade_no");
	reading->read(raw, m, notice);
	if (m->txn_id == NULL || m->reference == NULL)
		payorder_reject(REJECTED_BODY);
	if (m->occurred_at == NO_TIME)
		m->occurred_at = time_at(notice, "notify_time");
	return decoded;
}

/* What is there must be right; in a trade's notice both must be there. */
static void
check_account(const RawMessage *raw, const Form *form, bool is_trade)
{
	const char *app = field_bytes(form, "app_id");
	const char *seller = field_bytes(form, "seller_id");

	if ((app == NULL ? is_trade : strcmp(app, raw->gateway->app_scope) != 0) ||
		(seller == NULL ? is_trade :
		 strcmp(seller, raw->gateway->merchant_id) != 0))
		payorder_reject(REJECTED_MERCHANT);
}

/* The type of what is no notice of a trade. */
static const char *
other_type(const JsonNode *notice)
{
	const char *type = payorder_id_at(notice, "notify_type");

	return type != NULL ? type : payorder_id_at(notice, "msg_method");
}

static List *
decode(const RawMessage *raw)
{
	Form		form = payorder_form_parse(raw->body, raw->length);
	List	   *messages = NIL;
	JsonNode   *notice;
	bool		is_trade;
	const char *status;
	int			events;

	verify(raw, &form);
	notice = as_object(&form);
	is_trade = is_field(&form, "notify_type", "trade_status_sync");
	check_account(raw, &form, is_trade);
	if (!is_trade)
		return list_make1(payorder_ignored(notice, other_type(notice), false));
	status = payorder_id_at(notice, "trade_status");
	if (status == NULL)
		payorder_reject(REJECTED_BODY);
	events = events_of(notice, status);
	for (int i = 0; i < (int) lengthof(readings); i++)
	{
		if ((events & readings[i].event) != 0)
			messages = lappend(messages,
							   read_notice(raw, notice, &readings[i]));
	}
	return messages != NIL ? messages :
		list_make1(payorder_ignored(notice, status,
									tells_refund(notice, status)));
}

/* The settings say which app's payments these are. */
static void
check(const GatewayProfile *gateway)
{
	if (gateway->app_scope[0] == '\0')
		payorder_wrong_setting("app_scope",
							   "Give the app_id of the app whose payments these are.");
}

static const char *const kept_headers[] = {"content-type", NULL};

/*
 * notify_time may be that of the first sending, and Alipay sends for 25 hours.
 * What is taken twice in that time is a duplicate by its key.
 */
const Adapter payorder_adapter_alipay = {
	.name = "alipay",
	.defaults = "{\"pay_id_pattern\": \"^[0-9]{16,64}$\","
	" \"time_window\": \"26 hours\"}",
	.verify_with = KEY_RSA,
	.accepted = {200, "text/plain", "success"},
	.refused = {400, "text/plain", "fail"},
	.later = {503, "text/plain", "fail"},
	.kept_headers = kept_headers,
	.check = check,
	.decode = decode
};
