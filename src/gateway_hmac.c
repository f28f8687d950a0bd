/*-------------------------------------------------------------------------
 *
 * gateway_hmac.c
 *		Any other gateway that signs the raw body with HMAC-SHA256 and says
 *		one fact in a JSON object.
 *
 * The settings say in which header the signature is and how it is written,
 * where in the body things are (paths of members: "data.order.id"), and which
 * of the gateway's words stands for which event; words that are not listed are
 * ignored.  Settings are checked when they are set: what a fact needs must
 * have a path, and a refund or dispute can't be known by the id of its
 * payment, where a second one of the same payment would be taken for the
 * first.
 *
 * Where a time stamp is signed, it must be within the gateway's time window.
 * Without one there is no window: a repeat meets its key and changes nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/formatting.h"

#include "crypto.h"
#include "gateway_adapter.h"
#include "relation.h"

/* What is signed, by its name in the settings. */
static const struct SignedForm
{
	const char *name;
	const char *between;		/* time stamp and body; NULL: the body alone */
}			signed_forms[] =
{
	{"body", NULL},
	{"timestamp.body", "."},
	{"timestamp:body", ":"},
	{"timestamp\nbody", "\n"},
	{"timestampbody", ""}
};

/* How the settings say where the things of an event are. */
static const struct Place
{
	int			events;
	const char *id;				/* the setting of its own id's path */
	const char *amount;			/* that of its amount's; NULL: it has none */
}			places[] =
{
	{PAY_EVENTS, "txn_id", "amount"},
	{ATTEMPT_EVENTS | EVENT_PAY_REVERSED, "txn_id", NULL},
	{REFUND_EVENTS, "refund_id", "refund_amount"},
	{EVENT_CHARGEBACK | EVENT_CHARGEBACK_REVERSED, "dispute_id", "dispute_amount"},
	{EVENT_CHARGEBACK_LOST, "dispute_id", NULL}
};

static const struct Place *
place_of(MessageEvent event)
{
	size_t		i = 0;

	while (i + 1 < lengthof(places) && (places[i].events & event) == 0)
		i++;
	return &places[i];
}

/* A setting that is a text, NULL if it is not given. */
static const char *
setting(const GatewayProfile *gateway, const char *name)
{
	return payorder_string_at(gateway->settings, name);
}

static const struct SignedForm *
signed_form(const GatewayProfile *gateway)
{
	const char *name = setting(gateway, "signed");

	for (size_t i = 0; i < lengthof(signed_forms); i++)
	{
		if (strcmp(signed_forms[i].name, name == NULL ? "body" : name) == 0)
			return &signed_forms[i];
	}
	return NULL;
}

/* ---- the signature ---- */

static const char *
header_named_by(const RawMessage *raw, const char *name)
{
	const char *header = setting(raw->gateway, name);

	return payorder_required_header(raw, asc_tolower(header, strlen(header)));
}

/* The bytes of the signature, which are as many as a digest has. */
static const uint8 *
read_signature(const RawMessage *raw)
{
	const char *text = header_named_by(raw, "signature_header");
	const char *prefix = setting(raw->gateway, "prefix");
	uint8	   *bytes;
	size_t		length;

	if (prefix != NULL)
	{
		if (strncmp(text, prefix, strlen(prefix)) != 0)
			payorder_reject(REJECTED_HEADER);
		text += strlen(prefix);
	}
	length = strlen(text);
	if (strcmp(setting(raw->gateway, "encoding"), "base64") == 0)
	{
		bytes = payorder_unbase64(text, length, &length);
		if (bytes == NULL || length != SHA256_BYTES)
			payorder_reject(REJECTED_HEADER);
		return bytes;
	}
	bytes = palloc(SHA256_BYTES);
	if (length != 2 * SHA256_BYTES || !payorder_unhex(text, length, bytes))
		payorder_reject(REJECTED_HEADER);
	return bytes;
}

static bool
matches(const RawMessage *raw, const Bytes *parts, int count,
		const uint8 *signature)
{
	uint8		mac[SHA256_BYTES];
	bool		found = false;

	for (int i = 0; i < raw->key_count && !found; i++)
	{
		payorder_hmac_sha256((Bytes) {raw->keys[i].bytes, raw->keys[i].length},
							 parts, count, mac);
		found = payorder_same_bytes(mac, signature, SHA256_BYTES);
	}
	return found;
}

static void
verify(const RawMessage *raw)
{
	const struct SignedForm *form = signed_form(raw->gateway);
	const uint8 *signature;
	Bytes		parts[3];
	int			count = 0;
	int64		time = 0;

	if (raw->key_count == 0)
		payorder_reject(REJECTED_KEY);
	signature = read_signature(raw);
	if (form->between != NULL)
	{
		const char *text = header_named_by(raw, "timestamp_header");

		time = payorder_unix_time(text);
		parts[count++] = (Bytes) {text, strlen(text)};
		parts[count++] = (Bytes) {form->between, strlen(form->between)};
	}
	parts[count++] = (Bytes) {raw->body, raw->length};
	if (!matches(raw, parts, count, signature))
		payorder_reject(REJECTED_SIGNATURE);
	if (form->between != NULL)
		payorder_check_window(raw, time);
}

/* ---- what it says ---- */

static bool
is_digits(const char *text)
{
	return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* What is where a setting says; NULL if the setting is not given. */
static JsonNode *
node_by(const RawMessage *raw, const JsonNode *body, const char *name)
{
	const char *path = setting(raw->gateway, name);

	return path == NULL ? NULL : payorder_node_at(body, path);
}

/* The same as text; a number, too, as it is written. */
static const char *
text_by(const RawMessage *raw, const JsonNode *body, const char *name)
{
	JsonNode   *node = node_by(raw, body, name);

	return node == NULL ? NULL : node->text;
}

/* The same of an id: a string, or a number without sign, point or exponent. */
static const char *
id_by(const RawMessage *raw, const JsonNode *body, const char *name)
{
	JsonNode   *node = node_by(raw, body, name);

	if (node == NULL || (node->kind == JSON_STRING && node->text[0] == '\0'))
		return NULL;
	if ((node->kind != JSON_STRING &&
		 !(node->kind == JSON_NUMBER && is_digits(node->text))) ||
		!payorder_is_id(node->text))
		payorder_reject(REJECTED_BODY);
	return node->text;
}

static void
set_amount(const RawMessage *raw, Message *m, const JsonNode *body,
		   const char *name)
{
	JsonNode   *node = node_by(raw, body, setting(raw->gateway, name) != NULL ?
							   name : "amount");
	JsonNode   *currency = node_by(raw, body, "currency");
	const char *format = setting(raw->gateway, "amount_format");
	const char *code = currency == NULL || currency->kind != JSON_STRING ?
		NULL : asc_toupper(currency->text, strlen(currency->text));
	JsonNode	number;

	if (node == NULL || (node->kind != JSON_NUMBER && node->kind != JSON_STRING))
		node = NULL;
	if (format != NULL && strcmp(format, "decimal") == 0)
	{
		/* how many decimals it has, only a currency says */
		if (code != NULL)
			payorder_decimal_amount(raw, m, node == NULL ? NULL : node->text,
									code);
		return;
	}
	if (node != NULL && is_digits(node->text))
	{
		number = *node;
		number.kind = JSON_NUMBER;
		node = &number;
	}
	payorder_minor_amount(raw, m, node, code);
}

static Decoded *
read_event(const RawMessage *raw, JsonNode *body, MessageEvent event)
{
	const struct Place *place = place_of(event);
	Decoded    *decoded = payorder_decoded(body, event);
	Message    *m = &decoded->message;

	m->txn_id = id_by(raw, body, place->id);
	m->reference = id_by(raw, body, "order_no");
	/* where there is no payment, there may be no id of one */
	if (m->txn_id == NULL && (event & ATTEMPT_EVENTS) != 0)
		m->txn_id = m->reference;
	if (m->txn_id == NULL)
		payorder_reject(REJECTED_BODY);
	m->payment_txn = id_by(raw, body, "payment_txn");
	if (m->payment_txn == NULL && strcmp(place->id, "txn_id") != 0)
		m->payment_txn = id_by(raw, body, "txn_id");
	if ((event & REFUND_EVENTS) != 0)
		m->refund_no = id_by(raw, body, "refund_no");
	if (place->amount != NULL)
		set_amount(raw, m, body, place->amount);
	if (setting(raw->gateway, "occurred_at") != NULL)
		m->occurred_at = payorder_time_at(body,
										  setting(raw->gateway, "occurred_at"));
	return decoded;
}

/* Where a setting names the path of something, it must be what is expected. */
static void
demand(const RawMessage *raw, const JsonNode *body, const char *name,
	   const char *expected)
{
	const char *text;

	if (setting(raw->gateway, name) == NULL)
		return;
	text = text_by(raw, body, name);
	if (text == NULL || strcmp(text, expected) != 0)
		payorder_reject(REJECTED_MERCHANT);
}

static List *
decode(const RawMessage *raw)
{
	JsonNode   *body;
	JsonNode   *event;
	const char *word;
	MessageEvent canonical;

	verify(raw);
	body = payorder_body_json(raw->body, raw->length);
	if (body->kind != JSON_OBJECT)
		payorder_reject(REJECTED_BODY);
	demand(raw, body, "merchant", raw->gateway->merchant_id);
	demand(raw, body, "app", raw->gateway->app_scope);
	demand(raw, body, "live", raw->gateway->live ? "true" : "false");
	word = text_by(raw, body, "event");
	if (word == NULL)
		payorder_reject(REJECTED_BODY);
	event = payorder_json_member(payorder_json_member(raw->gateway->settings,
													  "events"), word);
	if (event == NULL)
		return list_make1(payorder_ignored(body, word, false));
	if (!payorder_message_event(event->text, &canonical))
		elog(ERROR, "setting \"events\" has an unknown event");
	return list_make1(read_event(raw, body, canonical));
}

/* ---- settings ---- */

/* What a setting must be: NULL if it is, else what to do. */
typedef const char *(*Complaint) (const JsonNode *value);

static const char *
not_text(const JsonNode *value)
{
	return value->kind == JSON_STRING && payorder_is_id(value->text) ? NULL :
		"Give a text of 1 to 128 characters.";
}

static const char *
not_header(const JsonNode *value)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return not_text(value) == NULL &&
		strspn(value->text, token) == strlen(value->text) ? NULL :
		"Give the name of an HTTP header.";
}

static const char *
not_path(const JsonNode *value)
{
	return not_text(value) == NULL && value->text[0] != '.' &&
		value->text[strlen(value->text) - 1] != '.' &&
		strstr(value->text, "..") == NULL ? NULL :
		"Give a path of members, such as \"data.order.id\".";
}

static const char *
not_encoding(const JsonNode *value)
{
	return value->kind == JSON_STRING && (strcmp(value->text, "hex") == 0 ||
										  strcmp(value->text, "base64") == 0) ?
		NULL : "Say \"hex\" or \"base64\".";
}

static const char *
not_amount_format(const JsonNode *value)
{
	return value->kind == JSON_STRING && (strcmp(value->text, "minor") == 0 ||
										  strcmp(value->text, "decimal") == 0) ?
		NULL : "Say \"minor\", for whole numbers of the minor unit, or \"decimal\".";
}

static const char *
not_signed_form(const JsonNode *value)
{
	/* which it is, check_time_stamp() says */
	return value->kind == JSON_STRING ? NULL :
		"Say what is signed, such as \"body\" or \"timestamp.body\".";
}

static const char *
not_events(const JsonNode *value)
{
	MessageEvent event;

	if (value->kind != JSON_OBJECT || value->first == NULL)
		return "Give an object of the gateway's words, each with the event that it stands for.";
	for (JsonNode *word = value->first; word; word = word->next)
	{
		if (word->kind != JSON_STRING ||
			!payorder_message_event(word->text, &event))
			return psprintf("Each word stands for one of: %s.",
							payorder_message_events());
	}
	return NULL;
}

static const struct Setting
{
	const char *name;
	bool		required;
	Complaint	complaint;
}			settings[] =
{
	{"signature_header", true, not_header},
	{"encoding", true, not_encoding},
	{"prefix", false, not_text},
	{"timestamp_header", false, not_header},
	{"signed", false, not_signed_form},
	{"event", true, not_path},
	{"events", true, not_events},
	{"txn_id", true, not_path},
	{"order_no", true, not_path},
	{"amount", true, not_path},
	{"amount_format", false, not_amount_format},
	{"currency", true, not_path},
	{"payment_txn", false, not_path},
	{"refund_id", false, not_path},
	{"refund_no", false, not_path},
	{"refund_amount", false, not_path},
	{"dispute_id", false, not_path},
	{"dispute_amount", false, not_path},
	{"occurred_at", false, not_path},
	{"merchant", false, not_path},
	{"app", false, not_path},
	{"live", false, not_path},
};

static void
check_each(const GatewayProfile *gateway)
{
	const char *names[lengthof(settings) + 1] = {NULL};

	for (size_t i = 0; i < lengthof(settings); i++)
	{
		JsonNode   *value = payorder_json_member(gateway->settings,
												 settings[i].name);
		const char *complaint = value == NULL ? NULL :
			settings[i].complaint(value);

		names[i] = settings[i].name;
		if (value == NULL && settings[i].required)
			complaint = "The adapter \"hmac\" needs it; see doc/gateways.md.";
		if (complaint != NULL)
			payorder_wrong_setting(settings[i].name, complaint);
	}
	payorder_check_setting_names(gateway, names);
}

/* A time stamp that is looked at must be signed, and the other way round. */
static void
check_time_stamp(const GatewayProfile *gateway)
{
	const struct SignedForm *form = signed_form(gateway);

	if (form == NULL)
		payorder_wrong_setting("signed",
							   "Say \"body\", \"timestamp.body\", \"timestamp:body\", \"timestamp\\nbody\" or \"timestampbody\".");
	if (form->between != NULL && setting(gateway, "timestamp_header") == NULL)
		payorder_wrong_setting("timestamp_header",
							   "Name the header of the time stamp that is signed.");
	if (form->between == NULL && setting(gateway, "timestamp_header") != NULL)
		payorder_wrong_setting("signed",
							   "A time stamp that is not signed proves nothing: say how it is signed, such as \"timestamp.body\", or leave out \"timestamp_header\".");
}

static bool
same_path(const GatewayProfile *gateway, const char *one, const char *other)
{
	return payorder_same_text(setting(gateway, one), setting(gateway, other));
}

/* An event that can come needs an id of its own. */
static void
check_ids(const GatewayProfile *gateway)
{
	JsonNode   *events = payorder_json_member(gateway->settings, "events");

	for (JsonNode *word = events->first; word; word = word->next)
	{
		MessageEvent event;
		const char *id;

		(void) payorder_message_event(word->text, &event);
		id = place_of(event)->id;
		if (setting(gateway, id) == NULL)
			payorder_wrong_setting(id,
								   "Name its path: \"events\" has such an event.");
	}
}

/* Nothing is known by the id of another thing. */
static void
check_paths_differ(const GatewayProfile *gateway)
{
	static const char *const later[] = {"refund_id", "dispute_id"};
	static const char *const others[] = {"txn_id", "payment_txn", "order_no"};

	for (size_t i = 0; i < lengthof(later); i++)
	{
		for (size_t j = 0; j < lengthof(others); j++)
		{
			if (setting(gateway, later[i]) != NULL &&
				same_path(gateway, later[i], others[j]))
				payorder_wrong_setting(later[i],
									   "It must not be the path of the payment's or the order's id: a second refund or dispute of one payment would be taken for the first.");
		}
	}
}

static void
check(const GatewayProfile *gateway)
{
	check_each(gateway);
	check_time_stamp(gateway);
	check_ids(gateway);
	check_paths_differ(gateway);
}

static const char *const kept_headers[] = {NULL};

const Adapter payorder_adapter_hmac = {
	.name = "hmac",
	.defaults = "{}",
	.verify_with = KEY_SECRET,
	.accepted = {200, "text/plain", "ok"},
	.refused = {400, "text/plain", "refused"},
	.later = {503, "text/plain", "try again later"},
	.kept_headers = kept_headers,
	.check = check,
	.decode = decode
};
