/*-------------------------------------------------------------------------
 *
 * secret_seal.c
 *		Secrets that are kept in the database, sealed.
 *
 * A row of payorder.sealed_secrets is a secret encrypted by AES-256-GCM, under
 * the key that payorder.seal_key refers to and with a nonce of its own, and
 * bound to the row's name.  It never changes but for being sealed anew.
 *
 * Who begins to use one holds its row shared, and drop_secret() takes it for
 * update and then looks who uses it, at READ COMMITTED, so that neither misses
 * the other.  A crash leaves nothing: all is one transaction's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "errors.h"
#include "guc.h"
#include "relation.h"
#include "secret.h"

#define SEAL_KEY_BYTES	32
#define CHECK_BYTES		16

static Statement read_sealed = {
	.sql = "SELECT nonce, ciphertext, key_check FROM payorder.sealed_secrets"
	" WHERE name = $1",
	.arguments = "t"
};
static Statement hold_sealed = {
	.sql = "SELECT name FROM payorder.sealed_secrets WHERE name = $1 FOR SHARE",
	.arguments = "t"
};
static Statement lock_sealed = {
	.sql = "SELECT name FROM payorder.sealed_secrets WHERE name = $1 FOR UPDATE",
	.arguments = "t"
};
static Statement lock_all_sealed = {
	.sql = "SELECT name, nonce, ciphertext, key_check"
	" FROM payorder.sealed_secrets ORDER BY name FOR UPDATE",
	.arguments = ""
};
static Statement insert_sealed = {
	.sql = "INSERT INTO payorder.sealed_secrets (name, nonce, ciphertext, key_check)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
	.arguments = "tyyy"
};
static Statement update_sealed = {
	.sql = "UPDATE payorder.sealed_secrets SET nonce = $2, ciphertext = $3,"
	" key_check = $4, sealed_at = pg_catalog.now(), sealed_by = SESSION_USER"
	" WHERE name = $1",
	.arguments = "tyyy"
};
static Statement delete_sealed = {
	.sql = "DELETE FROM payorder.sealed_secrets WHERE name = $1",
	.arguments = "t"
};
static Statement find_user = {
	.sql = "SELECT gateway FROM payorder.gateway_keys"
	" WHERE secret = $1 AND valid_until > pg_catalog.now()"
	" ORDER BY gateway LIMIT 1",
	.arguments = "t"
};

PG_FUNCTION_INFO_V1(payorder_seal_secret);
PG_FUNCTION_INFO_V1(payorder_reseal_secrets);
PG_FUNCTION_INFO_V1(payorder_drop_secret);

/* A sealed secret as its row has it. */
typedef struct Sealed
{
	const char *name;
	bytea	   *nonce;
	bytea	   *ciphertext;
	bytea	   *key_check;
} Sealed;

/* The key that seals, and what tells it from others without saying it. */
typedef struct SealKey
{
	Bytes		key;
	uint8		check[CHECK_BYTES];
} SealKey;

/* ---- the key that seals ---- */

static Bytes
hex_key(Bytes digits)
{
	uint8	   *key = payorder_secret_memory(SEAL_KEY_BYTES);

	if (!payorder_unhex(digits.data, digits.length, key))
		return (Bytes) {NULL, 0};
	return (Bytes) {key, SEAL_KEY_BYTES};
}

/* A key may end with what would be a line's end in a text. */
static Bytes
key_bytes(const char *reference)
{
	Bytes		whole = payorder_whole_secret(reference);
	Bytes		text = payorder_without_newline(whole);

	if (whole.length == SEAL_KEY_BYTES)
		return whole;
	if (text.length == SEAL_KEY_BYTES * 2)
		text = hex_key(text);
	if (text.length != SEAL_KEY_BYTES)
		payorder_bad_secret(reference,
							"A seal key is 32 bytes, or 64 hexadecimal digits.",
							"Make one with: openssl rand -hex 32");
	return text;
}

static void
read_seal_key(const char *reference, SealKey *seal)
{
	static const char label[] = "payorder: which key sealed this";
	Bytes		part = {label, sizeof(label)};
	uint8		mac[SHA256_BYTES];

	seal->key = key_bytes(reference);
	payorder_hmac_sha256(seal->key, &part, 1, mac);
	memcpy(seal->check, mac, CHECK_BYTES);
}

static void
current_seal_key(SealKey *seal)
{
	if (payorder_seal_key == NULL || !payorder_is_outside(payorder_seal_key))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("there is no key that seals secrets"),
				 errhint("Set payorder.seal_key to file:NAME or env:PAYORDER_NAME in the server's configuration and reload it.")));
	read_seal_key(payorder_seal_key, seal);
}

static bool
is_sealed_by(const Sealed *sealed, const SealKey *seal)
{
	return VARSIZE_ANY_EXHDR(sealed->key_check) == CHECK_BYTES &&
		memcmp(VARDATA_ANY(sealed->key_check), seal->check, CHECK_BYTES) == 0;
}

/* What a row is bound to: its name, and this form of sealing. */
static Bytes
binding(const char *name)
{
	char	   *text = psprintf("payorder sealed secret 1:%s", name);

	return (Bytes) {text, strlen(text)};
}

static Bytes
of_bytea(bytea *bytes)
{
	return (Bytes) {VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
}

static Bytes
open_sealed(const char *reference, const Sealed *sealed, const SealKey *seal)
{
	Bytes		ciphertext = of_bytea(sealed->ciphertext);
	size_t		length;
	uint8	   *plain;

	if (!is_sealed_by(sealed, seal))
		payorder_bad_secret(reference, "It was sealed with another key.",
							"Call reseal_secrets() with a reference to the key that sealed it, or set payorder.seal_key to that.");
	length = ciphertext.length - Min(ciphertext.length, GCM_TAG_BYTES);
	plain = payorder_secret_memory(length + 1);
	if (sealed->nonce == NULL ||
		VARSIZE_ANY_EXHDR(sealed->nonce) != GCM_NONCE_BYTES ||
		!payorder_aes256_gcm_decrypt(seal->key, of_bytea(sealed->nonce),
									 binding(sealed->name), ciphertext, plain))
		payorder_bad_secret(reference,
							"Its row isn't as it was sealed, or belongs to another name.",
							"Drop it with drop_secret() and seal it again from its source.");
	return (Bytes) {plain, length};
}

static bytea *
new_bytea(size_t length)
{
	bytea	   *bytes = palloc(VARHDRSZ + length);

	SET_VARSIZE(bytes, VARHDRSZ + length);
	return bytes;
}

static void
seal_bytes(Sealed *sealed, Bytes plain, const SealKey *seal)
{
	sealed->nonce = new_bytea(GCM_NONCE_BYTES);
	sealed->ciphertext = new_bytea(plain.length + GCM_TAG_BYTES);
	sealed->key_check = new_bytea(CHECK_BYTES);
	if (!pg_strong_random(VARDATA(sealed->nonce), GCM_NONCE_BYTES))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	payorder_aes256_gcm_encrypt(seal->key, of_bytea(sealed->nonce),
								binding(sealed->name), plain,
								(uint8 *) VARDATA(sealed->ciphertext));
	memcpy(VARDATA(sealed->key_check), seal->check, CHECK_BYTES);
}

static void
no_sealed(const char *reference)
{
	payorder_bad_secret(reference, "There is no sealed secret of this name.",
						"Seal it with seal_secret(); see payorder.sealed_secrets.");
}

/* What a row of that name has sealed; in the current context. */
Bytes
payorder_unseal(const char *reference, const char *name)
{
	Rows	   *rows = payorder_query(&read_sealed, name);
	Sealed		sealed = {.name = name};
	SealKey		seal;
	Reader		reader;

	if (rows->count == 0)
		no_sealed(reference);
	reader = payorder_row(rows, 0);
	sealed.nonce = payorder_read_bytes(&reader);
	sealed.ciphertext = payorder_read_bytes(&reader);
	sealed.key_check = payorder_read_bytes(&reader);
	current_seal_key(&seal);
	return open_sealed(reference, &sealed, &seal);
}

void
payorder_hold_sealed(const char *reference, const char *name)
{
	if (payorder_query(&hold_sealed, name)->count == 0)
		no_sealed(reference);
}

/* ---- SQL ---- */

static char *
name_argument(FunctionCallInfo fcinfo)
{
	char	   *name = payorder_required_text(fcinfo, 0, "name");

	if (!payorder_is_secret_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("invalid name of a secret"),
				 errhint("A name is 1 to %d letters, digits, \"_\", \".\" or \"-\", and begins with none of the last two.",
						 LONGEST_SECRET_NAME)));
	return name;
}

static void
seal(const char *name, const char *source)
{
	Sealed		sealed = {.name = name};
	SealKey		key;

	current_seal_key(&key);
	seal_bytes(&sealed, payorder_secret(source), &key);
	if (payorder_execute(&insert_sealed, name, sealed.nonce, sealed.ciphertext,
						 sealed.key_check) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("a sealed secret \"%s\" exists already", name),
				 errhint("Seal it under another name and rotate the keys that use the old one, or drop that first.")));
}

/* SQL: seal_secret(name, source) */
Datum
payorder_seal_secret(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *source;
	MemoryContext before = CurrentMemoryContext;
	MemoryContext secrets;

	payorder_prevent_read_only("seal_secret()");
	name = name_argument(fcinfo);
	source = payorder_required_text(fcinfo, 1, "source");
	payorder_check_outside(source, "source");
	payorder_check_reference(source, "source");
	secrets = payorder_secrets_context();
	PG_TRY();
	{
		MemoryContextSwitchTo(secrets);
		seal(name, source);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(before);
		MemoryContextDelete(secrets);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

static int
reseal(Rows *rows, const SealKey *old_key, const SealKey *new_key)
{
	int			count = 0;

	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		Sealed		sealed;

		sealed.name = payorder_read_text(&reader);
		sealed.nonce = payorder_read_bytes(&reader);
		sealed.ciphertext = payorder_read_bytes(&reader);
		sealed.key_check = payorder_read_bytes(&reader);
		if (is_sealed_by(&sealed, new_key))
			continue;
		seal_bytes(&sealed,
				   open_sealed(psprintf("sealed:%s", sealed.name), &sealed,
							   old_key), new_key);
		payorder_execute(&update_sealed, sealed.name, sealed.nonce,
						 sealed.ciphertext, sealed.key_check);
		count++;
	}
	return count;
}

/* SQL: reseal_secrets(old_key) */
Datum
payorder_reseal_secrets(PG_FUNCTION_ARGS)
{
	char	   *old_reference;
	MemoryContext before = CurrentMemoryContext;
	MemoryContext secrets;
	volatile int count = 0;

	payorder_prevent_read_only("reseal_secrets()");
	old_reference = payorder_required_text(fcinfo, 0, "old_key");
	payorder_check_outside(old_reference, "old_key");
	secrets = payorder_secrets_context();
	PG_TRY();
	{
		SealKey		old_key;
		SealKey		new_key;

		MemoryContextSwitchTo(secrets);
		current_seal_key(&new_key);
		read_seal_key(old_reference, &old_key);
		count = reseal(payorder_query(&lock_all_sealed), &old_key, &new_key);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(before);
		MemoryContextDelete(secrets);
	}
	PG_END_TRY();
	PG_RETURN_INT32(count);
}

/* SQL: drop_secret(name) */
Datum
payorder_drop_secret(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *reference;
	Rows	   *users;

	payorder_prevent_read_only("drop_secret()");
	payorder_require_read_committed("drop_secret()");
	name = name_argument(fcinfo);
	reference = psprintf("sealed:%s", name);
	if (payorder_query(&lock_sealed, name)->count == 0)
		no_sealed(reference);
	users = payorder_query(&find_user, reference);
	if (users->count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("secret \"%s\" is in use by gateway \"%s\"", reference,
						users->cells[0].text),
				 errhint("Rotate or retire the gateway's key first; see payorder.gateway_keys.")));
	payorder_execute(&delete_sealed, name);
	PG_RETURN_VOID();
}
