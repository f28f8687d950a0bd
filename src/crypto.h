/*-------------------------------------------------------------------------
 *
 * crypto.h
 *		Digests and random numbers, by the server's own library.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CRYPTO_H
#define PAYORDER_CRYPTO_H

#define SHA256_BYTES	32

extern void payorder_sha256(const void *data, size_t length,
							uint8 digest[SHA256_BYTES]);
extern char *payorder_hex(const uint8 *bytes, int count);
extern char *payorder_random_name(char prefix, int length);

#endif							/* PAYORDER_CRYPTO_H */
