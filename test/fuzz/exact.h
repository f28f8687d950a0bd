/*-------------------------------------------------------------------------
 *
 * exact.h
 *		What is put before each source file that is fuzzed.
 *
 * Memory comes from malloc in its exact size, so that AddressSanitizer sees
 * each byte beyond it; palloc's own chunks are rounded up.  Signatures and
 * ciphers are asked of fuzz.c, which has none but reads what it is given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_EXACT_H
#define PAYORDER_EXACT_H

#include "postgres.h"

#include "../../src/crypto.h"

extern void *exact_alloc(size_t size);
extern void *exact_alloc0(size_t size);
extern void *exact_realloc(void *pointer, size_t size);
extern void exact_free(void *pointer);
extern char *exact_strdup(const char *text);
extern char *exact_strndup(const char *text, size_t length);
extern char *exact_printf(const char *format,...) pg_attribute_printf(1, 2);

extern bool fuzz_rsa_sha256_verify(Bytes public_key, const Bytes *parts,
								   int count, Bytes signature);
extern void fuzz_hmac_sha256(Bytes key, const Bytes *parts, int count,
							 uint8 mac[SHA256_BYTES]);
extern bool fuzz_same_bytes(const void *left, const void *right,
							size_t length);
extern bool fuzz_aes256_gcm_decrypt(Bytes key, Bytes nonce, Bytes aad,
									Bytes sealed, uint8 *plain);

#ifndef PAYORDER_FUZZER
#define palloc			exact_alloc
#define palloc0			exact_alloc0
#define repalloc		exact_realloc
#define pfree			exact_free
#define pstrdup			exact_strdup
#define pnstrdup		exact_strndup
#define psprintf		exact_printf
#ifndef PAYORDER_IS_CRYPTO
#define payorder_rsa_sha256_verify	fuzz_rsa_sha256_verify
#define payorder_hmac_sha256		fuzz_hmac_sha256
#define payorder_same_bytes			fuzz_same_bytes
#define payorder_aes256_gcm_decrypt	fuzz_aes256_gcm_decrypt
#endif
#endif

#endif							/* PAYORDER_EXACT_H */
