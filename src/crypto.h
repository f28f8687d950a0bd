/*-------------------------------------------------------------------------
 *
 * crypto.h
 *		Digests, signatures, ciphers and random numbers, by the server's own
 *		library.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CRYPTO_H
#define PAYORDER_CRYPTO_H

#define SHA256_BYTES	32
#define GCM_NONCE_BYTES	12
#define GCM_TAG_BYTES	16

/* A piece of what is signed or hashed. */
typedef struct Bytes
{
	const void *data;
	size_t		length;
} Bytes;

extern void payorder_sha256(const void *data, size_t length,
							uint8 digest[SHA256_BYTES]);
extern bytea *payorder_sha256_of(const void *data, size_t length);
extern void payorder_hmac_sha256(Bytes key, const Bytes *parts, int count,
								 uint8 mac[SHA256_BYTES]);
extern bool payorder_rsa_sha256_verify(Bytes public_key, const Bytes *parts,
									   int count, Bytes signature);
extern Bytes payorder_rsa_public_key(const char *text, size_t length);
extern char *payorder_certificate_serial(const char *text, size_t length);
extern bool payorder_aes256_gcm_decrypt(Bytes key, Bytes nonce, Bytes aad,
										Bytes sealed, uint8 *plain);
extern void payorder_aes256_gcm_encrypt(Bytes key, Bytes nonce, Bytes aad,
										Bytes plain, uint8 *sealed);
extern bool payorder_same_bytes(const void *left, const void *right,
								size_t length);
extern void payorder_cleanse(void *data, size_t length);

extern char *payorder_hex(const uint8 *bytes, int count);
extern bool payorder_unhex(const char *text, size_t length, uint8 *bytes);
extern uint8 *payorder_unbase64(const char *text, size_t length,
								size_t *count);
extern char *payorder_random_name(char prefix, int length);

#endif							/* PAYORDER_CRYPTO_H */
