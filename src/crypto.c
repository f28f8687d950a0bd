/*-------------------------------------------------------------------------
 *
 * crypto.c
 *		Digests and random numbers, by the server's own library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "crypto.h"

void
payorder_sha256(const void *data, size_t length, uint8 digest[SHA256_BYTES])
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL ||
		pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, data, length) < 0 ||
		pg_cryptohash_final(context, digest, SHA256_BYTES) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(context);
}

/* Lower-case hex digits of some bytes. */
char *
payorder_hex(const uint8 *bytes, int count)
{
	char	   *text = palloc(count * 2 + 1);

	text[hex_encode((const char *) bytes, count, text)] = '\0';
	return text;
}

/*
 * A prefix and random letters and digits, 5 bits each; no letter is left out
 * by case, so that a number survives systems that fold it.
 */
char *
payorder_random_name(char prefix, int length)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	char	   *name = palloc(length + 1);

	if (!pg_strong_random(name, length))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < length; i++)
		name[i] = digits[name[i] & 31];
	name[0] = prefix;
	name[length] = '\0';
	return name;
}
