/*-------------------------------------------------------------------------
 *
 * gateway_key.c
 *		Keys of gateways: what verifies and decrypts their messages.
 *
 * A key's row never changes but for its end.  It has a public key, as the DER
 * of its SubjectPublicKeyInfo, or a reference to a secret (secret.c), which is
 * resolved each time that it is used; what its adapter wants of it was checked
 * when it was added, and is checked again then.  Several may be valid at once.
 *
 * Who adds or retires a key holds the gateway's row, so that of two rotations
 * the later one ends the earlier one's key.  A rotation looks for the keys
 * that others committed before it, hence at READ COMMITTED only.  A crash
 * leaves nothing: all is one transaction's.
 *
 * Messages may wait for a key.  To take them is for a room above, which says
 * at load what to do when one is added.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "errors.h"
#include "gateway_adapter.h"
#include "gateway_key.h"
#include "gateway_settings.h"
#include "relation.h"
#include "secret.h"

static Statement lock_gateway = {
	.sql = "SELECT adapter FROM payorder.gateways"
	" WHERE gateway = $1 AND NOT builtin FOR UPDATE",
	.arguments = "t"
};
static Statement insert_key = {
	.sql = "INSERT INTO payorder.gateway_keys (gateway, purpose, key_id, kind,"
	" public_key, secret, valid_from, valid_until)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	" ON CONFLICT (gateway, purpose, key_id) DO NOTHING",
	.arguments = "ttttytzz"
};
static Statement end_others = {
	.sql = "UPDATE payorder.gateway_keys SET valid_until = $4"
	" WHERE gateway = $1 AND purpose = $2 AND key_id <> $3"
	" AND valid_from <= $4 AND valid_until > $4",
	.arguments = "tttz"
};
static Statement retire_key = {
	.sql = "UPDATE payorder.gateway_keys SET valid_until ="
	" GREATEST(valid_from, LEAST(valid_until, $4)),"
	" retired_at = pg_catalog.now(), retired_by = SESSION_USER"
	" WHERE gateway = $1 AND purpose = $2 AND key_id = $3",
	.arguments = "tttz"
};
static Statement valid_keys = {
	.sql = "SELECT purpose, key_id, kind, public_key, secret, valid_from, added_at"
	" FROM payorder.gateway_keys"
	" WHERE gateway = $1 AND valid_from <= $2 AND valid_until > $2",
	.arguments = "tz"
};

static KeyAdded key_added;

PG_FUNCTION_INFO_V1(payorder_add_gateway_key);
PG_FUNCTION_INFO_V1(payorder_rotate_gateway_key);
PG_FUNCTION_INFO_V1(payorder_retire_gateway_key);
PG_FUNCTION_INFO_V1(payorder_check_gateway_keys);

/* ---- kinds ---- */

static bool
is_nonempty(Bytes *secret)
{
	return secret->length > 0;
}

static bool
is_32_bytes(Bytes *secret)
{
	return secret->length == 32;
}

/* Replaces hex digits by what they mean. */
static bool
is_hex(Bytes *secret)
{
	uint8	   *bytes = payorder_secret_memory(secret->length / 2 + 1);

	if (bytes == NULL ||
		!payorder_unhex(secret->data, secret->length, bytes))
		return false;
	*secret = (Bytes) {bytes, secret->length / 2};
	return secret->length > 0;
}

/* How kinds are called in rows; of secrets, what they must be. */
static const struct Kind
{
	KeyKind		kind;
	const char *name;
	bool		(*fits) (Bytes *secret);
	const char *misfit;
}			kinds[] =
{
	{KEY_SECRET, "secret", is_nonempty, "It is empty."},
	{KEY_SECRET_HEX, "hex", is_hex,
	"It isn't an even number of hexadecimal digits."},
	{KEY_SECRET_32, "secret_32", is_32_bytes, "It isn't 32 bytes long."},
	{KEY_RSA, "rsa", NULL, NULL},
};

static const struct Kind *
kind_of(KeyKind kind)
{
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].kind == kind)
			return &kinds[i];
	}
	return NULL;
}

static const struct Kind *
kind_named(const char *name)
{
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	}
	elog(ERROR, "unknown kind of key \"%s\"", name);
	return NULL;
}

/* The secret that a reference stands for, as its kind wants it. */
static Bytes
resolve(const char *reference, const struct Kind *kind)
{
	Bytes		secret = payorder_secret(reference);

	if (!kind->fits(&secret))
		payorder_bad_secret(reference, kind->misfit,
							"Take it over from the gateway once more, as it is shown there.");
	return secret;
}

/* ---- the keys of a message ---- */

static const char *const purposes[] = {
	[KEY_VERIFY] = "verify",
	[KEY_DECRYPT] = "decrypt"
};

typedef struct KeyRow
{
	GatewayKey	key;
	const char *kind;
	bytea	   *public_key;
	const char *reference;
	TimestampTz valid_from;
	TimestampTz added_at;
} KeyRow;

static void
read_key(KeyRow *row, Reader reader)
{
	row->key.purpose = strcmp(payorder_read_text(&reader),
							  purposes[KEY_VERIFY]) == 0 ?
		KEY_VERIFY : KEY_DECRYPT;
	row->key.key_id = payorder_read_text(&reader);
	row->kind = payorder_read_text(&reader);
	row->public_key = payorder_read_bytes(&reader);
	row->reference = payorder_read_text(&reader);
	row->valid_from = payorder_read_time(&reader);
	row->added_at = payorder_read_time(&reader);
}

static int
newest_first(const void *left, const void *right)
{
	const KeyRow *a = left;
	const KeyRow *b = right;

	if (a->valid_from != b->valid_from)
		return a->valid_from > b->valid_from ? -1 : 1;
	if (a->added_at != b->added_at)
		return a->added_at > b->added_at ? -1 : 1;
	return strcmp(a->key.key_id, b->key.key_id);
}

static void
fill_key(GatewayKey *key, const KeyRow *row)
{
	Bytes		bytes;

	*key = row->key;
	if (row->reference != NULL)
		bytes = resolve(row->reference, kind_named(row->kind));
	else
		bytes = (Bytes) {VARDATA_ANY(row->public_key),
		VARSIZE_ANY_EXHDR(row->public_key)};
	key->bytes = unconstify(void *, bytes.data);
	key->length = bytes.length;
}

/* In the current context, which is one for secrets. */
static GatewayKey *
read_keys(const char *gateway, TimestampTz at, int *count)
{
	Rows	   *rows = payorder_query(&valid_keys, gateway, at);
	KeyRow	   *found = palloc0(sizeof(KeyRow) * Max(rows->count, 1));
	GatewayKey *keys = palloc0(sizeof(GatewayKey) * Max(rows->count, 1));

	for (int i = 0; i < rows->count; i++)
		read_key(&found[i], payorder_row(rows, i));
	qsort(found, rows->count, sizeof(KeyRow), newest_first);
	for (int i = 0; i < rows->count; i++)
		fill_key(&keys[i], &found[i]);
	*count = rows->count;
	return keys;
}

/*
 * They are in a context of their own, below the current one, whose end
 * overwrites the secrets whatever ends it.
 */
GatewayKey *
payorder_gateway_keys(const char *gateway, TimestampTz at, int *count)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext secrets = payorder_secrets_context();
	GatewayKey *volatile keys = NULL;

	PG_TRY();
	{
		MemoryContextSwitchTo(secrets);
		keys = read_keys(gateway, at, count);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(secrets);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return keys;
}

void
payorder_forget_keys(GatewayKey *keys, int count)
{
	if (keys != NULL)
		MemoryContextDelete(GetMemoryChunkContext(keys));
}

/* ---- SQL ---- */

/* What add_gateway_key() and rotate_gateway_key() are given. */
typedef struct NewKey
{
	const char *gateway;
	const char *key_id;
	KeyPurpose	purpose;
	const char *public_key;
	const char *reference;
	TimestampTz valid_from;
	TimestampTz valid_until;
	const struct Kind *kind;	/* what the adapter wants for the purpose */
	Bytes		der;			/* of the public key */
} NewKey;

pg_attribute_noreturn() static void
bad_key(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_KEY_CONFIGURATION),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

static KeyPurpose
purpose_argument(FunctionCallInfo fcinfo, int number)
{
	char	   *text = payorder_required_text(fcinfo, number, "purpose");

	for (size_t i = 0; i < lengthof(purposes); i++)
	{
		if (strcmp(text, purposes[i]) == 0)
			return (KeyPurpose) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown purpose of a key"),
			 errhint("A purpose is verify or decrypt.")));
	return KEY_VERIFY;
}

static TimestampTz
time_argument(FunctionCallInfo fcinfo, int number, TimestampTz otherwise)
{
	return PG_ARGISNULL(number) ? otherwise : PG_GETARG_TIMESTAMPTZ(number);
}

static void
read_arguments(NewKey *key, FunctionCallInfo fcinfo)
{
	key->gateway = payorder_required_text(fcinfo, 0, "gateway");
	key->key_id = payorder_text_argument(fcinfo, 1);
	key->purpose = purpose_argument(fcinfo, 2);
	key->public_key = payorder_text_argument(fcinfo, 3);
	key->reference = payorder_text_argument(fcinfo, 4);
	key->valid_from = time_argument(fcinfo, 5,
									GetCurrentTransactionStartTimestamp());
	key->valid_until = time_argument(fcinfo, 6, DT_NOEND);
	if (TIMESTAMP_NOT_FINITE(key->valid_from) ||
		key->valid_until <= key->valid_from)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("valid_from must be finite and before valid_until"),
				 errhint("Without valid_until a key is valid until it is rotated or retired.")));
}

/* Takes the gateway's row, and finds what it wants for the purpose. */
static void
lock_and_find_kind(NewKey *key)
{
	Rows	   *rows = payorder_query(&lock_gateway, key->gateway);
	const Adapter *adapter;

	if (rows->count == 0)
		payorder_no_gateway(key->gateway);
	adapter = payorder_adapter(rows->cells[0].text);
	if (adapter != NULL)
		key->kind = kind_of(key->purpose == KEY_VERIFY ?
							adapter->verify_with : adapter->decrypt_with);
	if (key->kind == NULL)
		bad_key(key->purpose == KEY_VERIFY ?
				"this gateway's adapter verifies with no key" :
				"this gateway's adapter decrypts with no key",
				"See doc/gateway_key.md for the keys that each adapter needs.");
}

static void
check_public_key(NewKey *key)
{
	if (key->public_key == NULL || key->reference != NULL)
		bad_key("this gateway's adapter needs a public key and no secret",
				"Give public_key => the gateway's public key or certificate, as PEM or base64.");
	key->der = payorder_rsa_public_key(key->public_key,
									   strlen(key->public_key));
	if (key->der.data == NULL)
		bad_key("public_key is not an RSA public key of 2048 bits or more",
				"Give the gateway's public key or certificate as PEM, with its BEGIN and END lines, or a public key as base64; never a private key.");
	if (key->key_id == NULL)
		key->key_id = payorder_certificate_serial(key->public_key,
												  strlen(key->public_key));
}

/* That the secret is there and fits is found by reading it once. */
static void
check_secret(NewKey *key)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext secrets;

	if (key->reference == NULL || key->public_key != NULL)
		bad_key("this gateway's adapter needs a secret and no public key",
				"Give secret => file:NAME, env:PAYORDER_NAME or sealed:NAME.");
	payorder_check_reference(key->reference, "secret");
	payorder_hold_secret(key->reference);
	secrets = payorder_secrets_context();
	PG_TRY();
	{
		MemoryContextSwitchTo(secrets);
		(void) resolve(key->reference, key->kind);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(secrets);
	}
	PG_END_TRY();
}

static bytea *
to_bytea(Bytes bytes)
{
	bytea	   *result = palloc(VARHDRSZ + bytes.length);

	SET_VARSIZE(result, VARHDRSZ + bytes.length);
	memcpy(VARDATA(result), bytes.data, bytes.length);
	return result;
}

static void
add_key(NewKey *key)
{
	lock_and_find_kind(key);
	if (key->kind->kind == KEY_RSA)
		check_public_key(key);
	else
		check_secret(key);
	if (key->key_id == NULL)
		key->key_id = "";
	if (key->key_id[0] != '\0' && !payorder_is_id(key->key_id))
		bad_key("invalid key_id",
				"Give the key's serial or id at the gateway: up to 128 printable characters.");
	if (payorder_execute(&insert_key, key->gateway, purposes[key->purpose],
						 key->key_id, key->kind->name,
						 key->der.data == NULL ? NULL : to_bytea(key->der),
						 key->reference, key->valid_from, key->valid_until) == 0)
		bad_key("this gateway has a key of this purpose and key_id already",
				"Give another key_id; where the gateway has none, any name tells its keys apart.");
}

void
payorder_gateway_key_on_add(KeyAdded added)
{
	key_added = added;
}

/* SQL: add_gateway_key(gateway, key_id, ...) */
Datum
payorder_add_gateway_key(PG_FUNCTION_ARGS)
{
	NewKey		key = {0};

	payorder_prevent_read_only("add_gateway_key()");
	read_arguments(&key, fcinfo);
	add_key(&key);
	key_added(key.gateway);
	PG_RETURN_TEXT_P(cstring_to_text(key.key_id));
}

/* How long the old keys stay beside the new one; 0 is allowed. */
static int64
overlap_argument(FunctionCallInfo fcinfo, int number)
{
	Interval   *overlap = PG_ARGISNULL(number) ? NULL :
		PG_GETARG_INTERVAL_P(number);
	int64		microseconds = 0;

	if (overlap == NULL ||
		(!payorder_duration(overlap, &microseconds) &&
		 (overlap->month != 0 || overlap->day != 0 || overlap->time != 0)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap is out of range"),
				 errhint("Give 0 to 366 days, without months.")));
	return microseconds;
}

/* SQL: rotate_gateway_key(gateway, key_id, ..., overlap) */
Datum
payorder_rotate_gateway_key(PG_FUNCTION_ARGS)
{
	NewKey		key = {0};
	int64		overlap;

	payorder_prevent_read_only("rotate_gateway_key()");
	payorder_require_read_committed("rotate_gateway_key()");
	read_arguments(&key, fcinfo);
	overlap = overlap_argument(fcinfo, 7);
	add_key(&key);
	payorder_execute(&end_others, key.gateway, purposes[key.purpose],
					 key.key_id,
					 Max(key.valid_from,
						 GetCurrentTransactionStartTimestamp()) + overlap);
	key_added(key.gateway);
	PG_RETURN_TEXT_P(cstring_to_text(key.key_id));
}

/* SQL: retire_gateway_key(gateway, key_id, purpose, at) */
Datum
payorder_retire_gateway_key(PG_FUNCTION_ARGS)
{
	char	   *gateway;
	char	   *key_id;
	KeyPurpose	purpose;
	TimestampTz at;

	payorder_prevent_read_only("retire_gateway_key()");
	gateway = payorder_required_text(fcinfo, 0, "gateway");
	key_id = payorder_required_text(fcinfo, 1, "key_id");
	purpose = purpose_argument(fcinfo, 2);
	at = time_argument(fcinfo, 3, GetCurrentTransactionStartTimestamp());
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be finite"),
				 errhint("Say from when on the key is not valid any more.")));
	if (payorder_query(&lock_gateway, gateway)->count == 0)
		payorder_no_gateway(gateway);
	if (payorder_execute(&retire_key, gateway, purposes[purpose], key_id,
						 at) == 0)
		bad_key("this gateway has no key of this purpose and key_id",
				"See payorder.gateway_keys.");
	PG_RETURN_VOID();
}

/* SQL: check_gateway_keys(gateway, at) */
Datum
payorder_check_gateway_keys(PG_FUNCTION_ARGS)
{
	char	   *gateway = payorder_required_text(fcinfo, 0, "gateway");
	TimestampTz at = time_argument(fcinfo, 1,
								   GetCurrentTransactionStartTimestamp());
	int			count;
	GatewayKey *keys;

	if (payorder_gateway(gateway, NULL, NULL) == NULL)
		payorder_no_gateway(gateway);
	keys = payorder_gateway_keys(gateway, at, &count);
	payorder_forget_keys(keys, count);
	PG_RETURN_INT32(count);
}
