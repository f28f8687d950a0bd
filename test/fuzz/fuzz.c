/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *		libFuzzer inside a real backend: payorder_fuzz(target, arguments).
 *
 * The backend is a single-user one, with AddressSanitizer loaded before it, so
 * that errors, JSON, encodings, times and the catalog are the server's own.
 * The files that read what comes before it is verified are built with the
 * sanitizers and exact.h (see run); all else is as it is installed.  What is
 * not real is here: memory in exact sizes, and the verdict of signatures and
 * ciphers, so that what lies behind them is reached.
 *
 * An input is refused in one way only: with an error that gateway.c takes for
 * a rejection.  Any other error ends the run as a crash does.
 *
 *-------------------------------------------------------------------------
 */
#define PAYORDER_FUZZER
#include "exact.h"

#include <sanitizer/allocator_interface.h>
#include <sanitizer/asan_interface.h>

#include "fmgr.h"
#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "../../src/gateway_adapter.h"
#include "../../src/gateway_form.h"
#include "../../src/gateway_settings.h"
#include "../../src/json.h"
#include "../../src/redact.h"
#include "../../src/relation.h"

PG_FUNCTION_INFO_V1(payorder_fuzz);

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*one) (const uint8_t *data, size_t size));

/* ---- memory ---- */

/* Before each piece, and poisoned: what is handed out follows it. */
typedef struct Piece
{
	struct Piece *next;
	struct Piece *previous;
} Piece;

static Piece pieces = {&pieces, &pieces};

static void
unpoison(Piece *piece)
{
	if (piece != &pieces)
		__asan_unpoison_memory_region(piece, sizeof(Piece));
}

static void
poison(Piece *piece)
{
	if (piece != &pieces)
		__asan_poison_memory_region(piece, sizeof(Piece));
}

void *
exact_alloc(size_t size)
{
	Piece	   *piece;

	if (!AllocSizeIsValid(size))
		elog(ERROR, "invalid memory alloc request size %zu", size);
	piece = malloc(sizeof(Piece) + size);
	unpoison(pieces.next);
	*piece = (Piece) {pieces.next, &pieces};
	pieces.next->previous = piece;
	poison(pieces.next);
	pieces.next = piece;
	poison(piece);
	return piece + 1;
}

void *
exact_alloc0(size_t size)
{
	return memset(exact_alloc(size), 0, size);
}

static bool
is_exact(void *pointer)
{
	return __sanitizer_get_ownership((Piece *) pointer - 1) != 0;
}

static void
drop(Piece *piece)
{
	Piece	   *next;
	Piece	   *previous;

	unpoison(piece);
	next = piece->next;
	previous = piece->previous;
	unpoison(next);
	unpoison(previous);
	next->previous = previous;
	previous->next = next;
	poison(next);
	poison(previous);
	free(piece);
}

/* What the server has allocated for us is given back to it. */
void
exact_free(void *pointer)
{
	if (is_exact(pointer))
		drop((Piece *) pointer - 1);
	else
		pfree(pointer);
}

void *
exact_realloc(void *pointer, size_t size)
{
	size_t		old;
	void	   *copy;

	if (!is_exact(pointer))
		return repalloc(pointer, size);
	old = __sanitizer_get_allocated_size((Piece *) pointer - 1) - sizeof(Piece);
	copy = exact_alloc(size);
	memcpy(copy, pointer, Min(old, size));
	exact_free(pointer);
	return copy;
}

char *
exact_strndup(const char *text, size_t length)
{
	char	   *copy;

	length = strnlen(text, length);
	copy = exact_alloc(length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
exact_strdup(const char *text)
{
	return exact_strndup(text, strlen(text));
}

char *
exact_printf(const char *format,...)
{
	va_list		arguments;
	char	   *text;
	int			length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	text = exact_alloc(length + 1);
	va_start(arguments, format);
	(void) vsnprintf(text, length + 1, format, arguments);
	va_end(arguments);
	return text;
}

static void
free_all(void)
{
	while (pieces.next != &pieces)
		drop(pieces.next);
}

/* ---- signatures and ciphers ---- */

static bool verifies;
static volatile uint8 seen;

/* Reads each byte, for AddressSanitizer. */
static void
look(Bytes bytes)
{
	const uint8 *data = bytes.data;

	for (size_t i = 0; i < bytes.length; i++)
		seen ^= data[i];
}

static void
look_all(Bytes key, const Bytes *parts, int count)
{
	look(key);
	for (int i = 0; i < count; i++)
		look(parts[i]);
}

bool
fuzz_rsa_sha256_verify(Bytes public_key, const Bytes *parts, int count,
					   Bytes signature)
{
	look_all(public_key, parts, count);
	look(signature);
	return verifies;
}

void
fuzz_hmac_sha256(Bytes key, const Bytes *parts, int count,
				 uint8 mac[SHA256_BYTES])
{
	look_all(key, parts, count);
	memset(mac, 0, SHA256_BYTES);
}

bool
fuzz_same_bytes(const void *left, const void *right, size_t length)
{
	look((Bytes) {left, length});
	look((Bytes) {right, length});
	return verifies;
}

/* What is sealed is what is in it, with any tag. */
bool
fuzz_aes256_gcm_decrypt(Bytes key, Bytes nonce, Bytes aad, Bytes sealed,
						uint8 *plain)
{
	look(key);
	look(nonce);
	look(aad);
	look(sealed);
	if (!verifies || nonce.length != GCM_NONCE_BYTES ||
		sealed.length < GCM_TAG_BYTES)
		return false;
	memcpy(plain, sealed.data, sealed.length - GCM_TAG_BYTES);
	return true;
}

/* ---- what must be true of all that is taken ---- */

static void
demand(bool truth, const char *what)
{
	if (truth)
		return;
	fprintf(stderr, "not true: %s\n", what);
	abort();
}

static bool
is_id_or_none(const char *id)
{
	return id == NULL || payorder_is_id(id);
}

/* What is written of a tree reads as the same tree. */
static void
check_json(const JsonNode *tree)
{
	char	   *text = payorder_json_text(tree);
	JsonNode   *again = payorder_json_parse(text, ERRCODE_INTERNAL_ERROR, "x");

	demand(strcmp(payorder_json_text(again), text) == 0, "JSON reads as it was written");
}

static void
check_decoded(const Decoded *decoded)
{
	const Message *m = &decoded->message;
	const char *ids[] = {m->txn_id, m->reference, m->payment_txn, m->refund_no};

	if (decoded->rejected == NULL && decoded->ignored == NULL)
	{
		demand(m->event != 0 && (m->event & (m->event - 1)) == 0, "one event");
		demand(m->txn_id != NULL, "a key");
		for (size_t i = 0; i < lengthof(ids); i++)
			demand(is_id_or_none(ids[i]), "ids are ids");
		demand(verifies, "only what is verified is taken");
	}
	if (decoded->payload == NULL)
		return;
	check_json(decoded->payload);
	payorder_redact(decoded->payload, ids, lengthof(ids));
	check_json(decoded->payload);
}

/* ---- messages: header lines, an empty line, the body ---- */

#define MOST_HEADERS	16

/* Where messages and their signatures are of. */
#define NOW		INT64CONST(1777600800)

static const GatewayKey keys[] = {
	{KEY_VERIFY, "", (uint8 *) "0123456789abcdef0123456789abcdef", 32},
	{KEY_VERIFY, "C1", (uint8 *) "fedcba9876543210fedcba9876543210", 32},
	{KEY_DECRYPT, "", (uint8 *) "0123456789abcdef0123456789abcdef", 32}
};

static void
add_header(RawMessage *raw, Header *headers, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	char	   *name;
	const char *value;

	if (colon == NULL || raw->header_count == MOST_HEADERS)
		return;
	name = exact_strndup(line, colon - line);
	for (char *c = name; *c; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	value = colon + 1 + (colon + 1 < line + length && colon[1] == ' ');
	if (strcmp(name, "unverified") == 0)
		verifies = false;
	for (int i = 0; i < raw->header_count; i++)
	{
		if (strcmp(headers[i].name, name) == 0)
		{
			headers[i].twice = true;
			return;
		}
	}
	headers[raw->header_count++] = (Header)
	{
		name, exact_strndup(value, line + length - value), false
	};
}

/* False if headers could not have come so: they are text of the database. */
static bool
read_message(RawMessage *raw, Header *headers, const char *data, size_t size)
{
	const char *end = data + size;
	const char *next;
	char	   *body;

	verifies = true;
	for (; data < end && *data != '\n'; data = next + 1)
	{
		next = memchr(data, '\n', end - data);
		if (next == NULL ||
			!pg_verify_mbstr(PG_UTF8, data, (int) (next - data), true))
			return false;
		add_header(raw, headers, data, next - data);
	}
	if (data == end)
		return false;
	data++;
	body = exact_alloc(end - data + 1);
	memcpy(body, data, end - data);
	body[end - data] = '\0';
	raw->headers = headers;
	raw->body = body;
	raw->length = end - data;
	return true;
}

static GatewayProfile profile;
static const Adapter *adapter;

static int
one_message(const char *data, size_t size)
{
	Header		headers[MOST_HEADERS];
	RawMessage	raw = {.gateway = &profile, .keys = keys,.key_count = lengthof(keys)};
	List	   *decoded;
	ListCell   *cell;

	raw.at = (NOW - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
			  SECS_PER_DAY) * USECS_PER_SEC;
	if (!read_message(&raw, headers, data, size))
		return -1;
	decoded = adapter->decode(&raw);
	demand(decoded != NIL, "something is said");
	foreach(cell, decoded)
		check_decoded(lfirst(cell));
	return 0;
}

/* ---- texts: the first byte says by what they are read ---- */

static void
try_json(const char *text, size_t length)
{
	JsonNode   *tree = payorder_body_json(text, length);
	int64		number;

	(void) payorder_json_bigint(tree, &number);
	(void) payorder_node_at(tree, "a.b.c");
	check_json(tree);
	payorder_redact(tree, NULL, 0);
	check_json(tree);
}

static void
try_redact(const char *text, size_t length)
{
	char	   *redacted = payorder_redact_text(text, NULL, 0);

	demand(strlen(redacted) == strlen(text), "what is masked keeps its length");
	for (size_t i = 0; text[i] != '\0'; i++)
		demand(redacted[i] == text[i] || redacted[i] == '*', "only masks are new");
}

static void
try_base64(const char *text, size_t length)
{
	size_t		count = 0;
	uint8	   *bytes = payorder_unbase64(text, length, &count);
	char	   *again;

	if (bytes == NULL)
		return;
	look((Bytes) {bytes, count});
	again = exact_alloc(pg_b64_enc_len((int) count) + 1);
	demand(pg_b64_encode((char *) bytes, (int) count, again,
						 pg_b64_enc_len((int) count)) == (int) length &&
		   memcmp(again, text, length) == 0, "base64 is written in one way");
}

static void
try_hex(const char *text, size_t length)
{
	uint8	   *bytes = exact_alloc(length / 2);

	if (!payorder_unhex(text, length, bytes))
		return;
	demand(pg_strcasecmp(payorder_hex(bytes, (int) length / 2), text) == 0, "hex");
}

static void
try_unix_time(const char *text, size_t length)
{
	int64		seconds = payorder_unix_time(text);

	demand(seconds >= 0 && seconds <= INT64CONST(99999999999), "a time");
}

static void
try_iso_time(const char *text, size_t length)
{
	TimestampTz time;

	(void) payorder_iso_time(text, &time);
}

static void
try_decimal(const char *text, size_t length)
{
	int64		amount;

	for (int exponent = 0; exponent <= 4; exponent++)
		(void) payorder_decimal(text, exponent, &amount);
}

static void
try_form(const char *text, size_t length)
{
	Form		form = payorder_form_parse(text, length);

	demand(form.count > 0, "a form has a field");
	for (int i = 0; i < form.count; i++)
	{
		const FormField *field = &form.fields[i];

		demand(strlen(field->value) == field->length, "a value is a string");
		demand(payorder_form_field(&form, field->name) ==
			   (field->length == 0 ? NULL : field), "a field is found");
	}
}

static const struct Reader_of
{
	char		letter;
	void		(*read) (const char *text, size_t length);
}			readers[] =
{
	{'j', try_json}, {'r', try_redact}, {'b', try_base64}, {'h', try_hex},
	{'u', try_unix_time}, {'i', try_iso_time}, {'d', try_decimal},
	{'f', try_form}
};

static int
one_text(const char *data, size_t size)
{
	char	   *text;

	for (size_t i = 0; size > 0 && i < lengthof(readers); i++)
	{
		if (readers[i].letter != data[0])
			continue;
		text = exact_alloc(size);
		memcpy(text, data + 1, size - 1);
		text[size - 1] = '\0';
		/* all but JSON and forms come from what has been read as text */
		if (readers[i].letter != 'j' && readers[i].letter != 'f' &&
			(strlen(text) != size - 1 ||
			 !pg_verify_mbstr(PG_UTF8, text, (int) size - 1, true)))
			return -1;
		readers[i].read(text, size - 1);
		return 0;
	}
	return -1;
}

/* ---- targets ---- */

static const struct Target
{
	const char *name;			/* of messages: the adapter's */
	const char *capture_mode;
	const char *settings;
	int			(*one) (const char *data, size_t size);
}			targets[] =
{
	{"stripe", NULL, "{}", one_message},
	{"wechatpay", NULL, "{}", one_message},
	{"alipay", NULL, "{}", one_message},
	{"adyen", "manual", "{\"captures\": \"multiple\"}", one_message},
	{"hmac", NULL,
		"{\"signature_header\": \"X-Sign\", \"encoding\": \"base64\","
		" \"prefix\": \"s=\", \"timestamp_header\": \"X-Time\","
		" \"signed\": \"timestamp.body\", \"event\": \"t\","
		" \"events\": {\"p\": \"pay\", \"f\": \"pay_failed\", \"r\": \"refund\","
		" \"c\": \"chargeback\"},"
		" \"txn_id\": \"d.id\", \"order_no\": \"d.no\", \"amount\": \"d.a\","
		" \"amount_format\": \"decimal\", \"currency\": \"d.c\","
		" \"refund_id\": \"d.r\", \"refund_no\": \"d.rn\","
		" \"dispute_id\": \"d.x\", \"occurred_at\": \"at\","
		" \"merchant\": \"m\", \"live\": \"live\"}", one_message},
	{"text", NULL, "{}", one_text}
};

static const struct Target *target;
static MemoryContext run_context;

static int
one_input(const uint8_t *data, size_t size)
{
	volatile int result = 0;

	MemoryContextReset(run_context);
	MemoryContextSwitchTo(run_context);
	PG_TRY();
	{
		result = target->one((const char *) data, size);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(run_context);
		error = CopyErrorData();
		FlushErrorState();
		if (payorder_rejection(error) == NULL)
		{
			fprintf(stderr, "an error that is no rejection: %s: %s\n",
					unpack_sql_state(error->sqlerrcode), error->message);
			abort();
		}
	}
	PG_END_TRY();
	free_all();
	return result;
}

static void
choose(const char *name)
{
	for (size_t i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(targets[i].name, name) == 0)
			target = &targets[i];
	}
	if (target == NULL)
		elog(ERROR, "no target \"%s\"", name);
	adapter = payorder_adapter(name);
	profile = (GatewayProfile)
	{
		.gateway = "g",.merchant_id = "M",.app_scope = "A",.live = true,
			.capture_mode = target->capture_mode,
			.time_window = 300 * USECS_PER_SEC,
			.exponents = payorder_json_parse("{\"ISK\": 2}", 0, "exponents"),
			.settings = payorder_json_parse(target->settings, 0, "settings")
	};
	if (adapter != NULL && adapter->check != NULL)
		adapter->check(&profile);
	/* these are there for all runs */
	pieces = (Piece) {&pieces, &pieces};
}

/* Runs a target with libFuzzer's arguments; it ends the backend. */
Datum
payorder_fuzz(PG_FUNCTION_ARGS)
{
	Datum	   *given;
	int			count;
	char	  **arguments;

	choose(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false,
					  TYPALIGN_INT, &given, NULL, &count);
	arguments = palloc0(sizeof(char *) * (count + 2));
	arguments[0] = "postgres";
	for (int i = 0; i < count; i++)
		arguments[i + 1] = TextDatumGetCString(given[i]);
	count++;
	run_context = AllocSetContextCreate(TopMemoryContext, "fuzz",
										ALLOCSET_DEFAULT_SIZES);
	LLVMFuzzerRunDriver(&count, &arguments, one_input);
	PG_RETURN_VOID();
}
