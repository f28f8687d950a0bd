/*-------------------------------------------------------------------------
 *
 * secret.c
 *		Secrets, by references that say where they are.
 *
 *	file:NAME	a file directly below payorder.secret_directory
 *	env:NAME	a variable of the server's environment, PAYORDER_...
 *	sealed:NAME	a row of payorder.sealed_secrets: AES-256-GCM under the key that
 *				payorder.seal_key refers to, bound to the row's name
 *
 * SQL only ever has references: what they stand for is no argument and no
 * result of a function, stands in no message, and lies in memory that is
 * overwritten when its context goes.  Where to look is said by settings that
 * only the server's configuration sets; a reference can't lead out of there.
 *
 * A sealed secret's row never changes but for being sealed anew.  Who begins
 * to use one holds its row shared, and drop_secret() takes it for update and
 * then looks who uses it, at READ COMMITTED, so that neither misses the other.
 * A crash leaves nothing: all is one transaction's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "errors.h"
#include "guc.h"
#include "relation.h"
#include "secret.h"

#define LARGEST_SECRET	(64 * 1024)
#define LONGEST_NAME	128
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

/* ---- memory ---- */

typedef struct Held
{
	MemoryContextCallback callback;
	size_t		size;
	uint8		bytes[FLEXIBLE_ARRAY_MEMBER];
} Held;

static void
cleanse(void *argument)
{
	Held	   *held = argument;

	payorder_cleanse(held->bytes, held->size);
}

/* A context for what is to be overwritten and freed at once. */
MemoryContext
payorder_secrets_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "payorder secrets",
								 ALLOCSET_SMALL_SIZES);
}

/*
 * Memory of the current context that is overwritten when the context goes; NULL
 * if there is none, so that a caller can close its files.
 */
uint8 *
payorder_secret_memory(size_t size)
{
	Held	   *held = palloc_extended(offsetof(Held, bytes) + size,
									   MCXT_ALLOC_NO_OOM);

	if (held == NULL)
		return NULL;
	held->size = size;
	held->callback.func = cleanse;
	held->callback.arg = held;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &held->callback);
	return held->bytes;
}

static uint8 *
must_have(uint8 *memory)
{
	if (memory == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return memory;
}

/* ---- what is said when it can't be had ---- */

void
payorder_bad_secret(const char *reference, const char *detail,
					const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_KEY_CONFIGURATION),
			 errmsg("secret \"%s\" can't be used", reference),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* ---- references ---- */

static bool
is_name(const char *name)
{
	size_t		length = strlen(name);

	return length >= 1 && length <= LONGEST_NAME &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_.-") == length &&
		name[0] != '.' && name[0] != '-';
}

static bool
is_variable(const char *name)
{
	return is_name(name) && strncmp(name, "PAYORDER_", 9) == 0 &&
		strpbrk(name, ".-") == NULL;
}

static Bytes read_file(const char *reference, const char *name);
static Bytes read_variable(const char *reference, const char *name);
static Bytes unseal(const char *reference, const char *name);

static const struct Place
{
	const char *prefix;
	bool		(*is_name) (const char *name);
	Bytes		(*read) (const char *reference, const char *name);
	bool		outside;		/* of the database: can be sealed, and seal */
}			places[] =
{
	{"file:", is_name, read_file, true},
	{"env:", is_variable, read_variable, true},
	{"sealed:", is_name, unseal, false},
};

/* Where a reference leads, and by which name there; NULL if it is none. */
static const struct Place *
place_of(const char *reference, const char **name)
{
	for (size_t i = 0; i < lengthof(places); i++)
	{
		size_t		length = strlen(places[i].prefix);

		if (strncmp(reference, places[i].prefix, length) == 0)
		{
			*name = reference + length;
			return places[i].is_name(*name) ? &places[i] : NULL;
		}
	}
	return NULL;
}

/* Who writes the secret itself here must not find it in the log again. */
static void
no_reference(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_KEY_CONFIGURATION),
			 errmsg("%s is not a reference to a secret", argument),
			 errhint("Give file:NAME, env:PAYORDER_NAME or, where it is allowed, sealed:NAME. A secret that was itself written into a statement is known to the server's log: replace it at the gateway.")));
}

static bool
is_seal_key(const char *reference)
{
	return payorder_seal_key != NULL &&
		strcmp(reference, payorder_seal_key) == 0;
}

void
payorder_check_reference(const char *reference, const char *argument)
{
	const char *name;

	if (place_of(reference, &name) == NULL)
		no_reference(argument);
	if (is_seal_key(reference))
		payorder_bad_secret(reference, "It is the key that seals secrets.",
							"Keep the seal key for that alone.");
}

static void
check_outside(const char *reference, const char *argument)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	if (place == NULL || !place->outside)
		no_reference(argument);
}

/* ---- what a reference stands for ---- */

static Bytes
whole_secret(const char *reference)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	if (place == NULL)
		no_reference("what is stored");
	return place->read(reference, name);
}

/* Without the line's end that an editor leaves. */
static Bytes
without_newline(Bytes secret)
{
	const char *text = secret.data;

	if (secret.length > 0 && text[secret.length - 1] == '\n')
	{
		secret.length--;
		if (secret.length > 0 && text[secret.length - 1] == '\r')
			secret.length--;
	}
	return secret;
}

Bytes
payorder_secret(const char *reference)
{
	Bytes		secret = without_newline(whole_secret(reference));

	if (secret.length == 0)
		payorder_bad_secret(reference, "It is empty.", "Write the secret there.");
	return secret;
}

/* ---- files ---- */

static void
check_folder(const char *reference)
{
	struct stat status;

	if (payorder_secret_directory == NULL ||
		payorder_secret_directory[0] == '\0')
		payorder_bad_secret(reference, "There is no folder of secrets.",
							"Set payorder.secret_directory in the server's configuration and reload it.");
	if (stat(payorder_secret_directory, &status) != 0 ||
		!S_ISDIR(status.st_mode) ||
		(status.st_uid != geteuid() && status.st_uid != 0) ||
		(status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		payorder_bad_secret(reference,
							"The folder of secrets isn't there, or isn't safe.",
							"payorder.secret_directory must be a folder that the server's user or root owns, and that neither group nor others may write to.");
}

/* What is wrong with a file, and what to do about it. */
typedef struct Fault
{
	const char *detail;
	const char *hint;
} Fault;

static const Fault not_there = {
	"There is no such file in the folder of secrets.",
	"Put it directly into the folder that payorder.secret_directory names."
};
static const Fault not_opened = {
	"The file can't be opened.",
	"It must be a regular file, not a link, that the server's user owns, of mode 0600."
};
static const Fault not_regular = {
	"It isn't a regular file.",
	"Put the secret itself into the folder of secrets, not a link to it."
};
static const Fault not_owned = {
	"The file belongs to somebody else.",
	"Give it to the server's user."
};
static const Fault not_private = {
	"The file's mode gives rights to others, or to execute it.",
	"Set its mode to 0600 or 0400."
};
static const Fault too_large = {
	"The file is larger than 64 kB.",
	"A secret is some bytes of text."
};
static const Fault not_read = {
	"The file could not be read as a whole.",
	"Try again; write a secret to another name first and rename it then."
};

/* Reads an open file; returns what is wrong with it, NULL: nothing. */
static const Fault *
read_open(int file, Bytes *secret)
{
	struct stat status;
	uint8	   *memory;
	size_t		done = 0;
	ssize_t		more;

	if (fstat(file, &status) != 0)
		return &not_read;
	if (!S_ISREG(status.st_mode))
		return &not_regular;
	if (status.st_uid != geteuid())
		return &not_owned;
	if ((status.st_mode & ~S_IFMT & ~(S_IRUSR | S_IWUSR)) != 0)
		return &not_private;
	if (status.st_size > LARGEST_SECRET)
		return &too_large;
	memory = payorder_secret_memory(status.st_size + 1);
	if (memory == NULL)
		return &not_read;
	do
	{
		more = read(file, memory + done, status.st_size + 1 - done);
		if (more > 0)
			done += more;
	} while ((more > 0 && done < (size_t) status.st_size) ||
			 (more < 0 && errno == EINTR));
	if (more < 0 || done != (size_t) status.st_size)
		return &not_read;
	*secret = (Bytes) {memory, done};
	return NULL;
}

/* O_NONBLOCK, so that a FIFO is found to be one instead of waited for. */
static Bytes
read_file(const char *reference, const char *name)
{
	Bytes		secret = {NULL, 0};
	const Fault *fault;
	char	   *path;
	int			file;

	check_folder(reference);
	path = psprintf("%s/%s", payorder_secret_directory, name);
	file = open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (file < 0)
		fault = errno == ENOENT ? &not_there :
			errno == ELOOP ? &not_regular : &not_opened;
	else
	{
		fault = read_open(file, &secret);
		close(file);
	}
	if (fault != NULL)
		payorder_bad_secret(reference, fault->detail, fault->hint);
	return secret;
}

/* ---- the environment ---- */

static Bytes
read_variable(const char *reference, const char *name)
{
	const char *value = getenv(name);
	size_t		length = value == NULL ? 0 : strlen(value);
	uint8	   *memory;

	if (value == NULL)
		payorder_bad_secret(reference,
							"The server's environment has no such variable.",
							"Set it where the server is started, and restart the server.");
	if (length > LARGEST_SECRET)
		payorder_bad_secret(reference, "It is larger than 64 kB.",
							"A secret is some bytes of text.");
	memory = must_have(payorder_secret_memory(length + 1));
	memcpy(memory, value, length);
	return (Bytes) {memory, length};
}

/* ---- sealed ones ---- */

static Bytes
hex_key(Bytes digits)
{
	uint8	   *key = must_have(payorder_secret_memory(SEAL_KEY_BYTES));

	if (!payorder_unhex(digits.data, digits.length, key))
		return (Bytes) {NULL, 0};
	return (Bytes) {key, SEAL_KEY_BYTES};
}

/* A key may end with what would be a line's end in a text. */
static Bytes
key_bytes(const char *reference)
{
	Bytes		whole = whole_secret(reference);
	Bytes		text = without_newline(whole);

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
	const char *name;
	const struct Place *place = payorder_seal_key == NULL ? NULL :
		place_of(payorder_seal_key, &name);

	if (place == NULL || !place->outside)
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
	plain = must_have(payorder_secret_memory(length + 1));
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

static Bytes
unseal(const char *reference, const char *name)
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
payorder_hold_secret(const char *reference)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	if (place != NULL && place->read == unseal &&
		payorder_query(&hold_sealed, name)->count == 0)
		no_sealed(reference);
}

/* ---- SQL ---- */

static char *
name_argument(FunctionCallInfo fcinfo)
{
	char	   *name = payorder_required_text(fcinfo, 0, "name");

	if (!is_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_CONFIGURATION),
				 errmsg("invalid name of a secret"),
				 errhint("A name is 1 to %d letters, digits, \"_\", \".\" or \"-\", and begins with none of the last two.",
						 LONGEST_NAME)));
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
	check_outside(source, "source");
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
	check_outside(old_reference, "old_key");
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
