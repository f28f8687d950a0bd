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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "errors.h"
#include "guc.h"
#include "secret.h"

#define LARGEST_SECRET	(64 * 1024)

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

/* NULL if there is none, so that a caller can close its file. */
static uint8 *
try_memory(size_t size)
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

/* Memory of the current context that is overwritten when the context goes. */
uint8 *
payorder_secret_memory(size_t size)
{
	uint8	   *memory = try_memory(size);

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

bool
payorder_is_secret_name(const char *name)
{
	size_t		length = strlen(name);

	return length >= 1 && length <= LONGEST_SECRET_NAME &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_.-") == length &&
		name[0] != '.' && name[0] != '-';
}

static bool
is_variable(const char *name)
{
	return payorder_is_secret_name(name) &&
		strncmp(name, "PAYORDER_", 9) == 0 && strpbrk(name, ".-") == NULL;
}

static Bytes read_file(const char *reference, const char *name);
static Bytes read_variable(const char *reference, const char *name);

static const struct Place
{
	const char *prefix;
	bool		(*is_name) (const char *name);
	Bytes		(*read) (const char *reference, const char *name);
	bool		outside;		/* of the database: can be sealed, and seal */
}			places[] =
{
	{"file:", payorder_is_secret_name, read_file, true},
	{"env:", is_variable, read_variable, true},
	{"sealed:", payorder_is_secret_name, payorder_unseal, false},
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

/* Whether a reference leads out of the database. */
bool
payorder_is_outside(const char *reference)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	return place != NULL && place->outside;
}

void
payorder_check_outside(const char *reference, const char *argument)
{
	if (!payorder_is_outside(reference))
		no_reference(argument);
}

/* Keeps a sealed secret from being dropped until the transaction's end. */
void
payorder_hold_secret(const char *reference)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	if (place != NULL && !place->outside)
		payorder_hold_sealed(reference, name);
}

/* ---- what a reference stands for ---- */

/* As it is there, with a line's end if it has one. */
Bytes
payorder_whole_secret(const char *reference)
{
	const char *name;
	const struct Place *place = place_of(reference, &name);

	if (place == NULL)
		no_reference("what is stored");
	return place->read(reference, name);
}

/* Without the line's end that an editor leaves. */
Bytes
payorder_without_newline(Bytes secret)
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
	Bytes		secret = payorder_without_newline(payorder_whole_secret(reference));

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
	memory = try_memory(status.st_size + 1);
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
	memory = payorder_secret_memory(length + 1);
	memcpy(memory, value, length);
	return (Bytes) {memory, length};
}
