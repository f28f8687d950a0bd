/*-------------------------------------------------------------------------
 *
 * crypto.c
 *		Digests, signatures, ciphers and random numbers, by the server's own
 *		library: OpenSSL 3, through its EVP interface.
 *
 * What OpenSSL looks up by name is looked up once in a session, and so are
 * public keys read from their DER; no secret is left behind, neither in memory
 * of ours nor in a context of OpenSSL's.  Nothing in between can raise an
 * error, so nothing leaks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "crypto.h"

#define SMALLEST_RSA	2048	/* bits */

/* Public keys that were used last, read. */
#define KEPT_KEYS		8
typedef struct KeptKey
{
	uint8	   *der;
	size_t		length;
	EVP_PKEY   *key;
} KeptKey;

static KeptKey kept_keys[KEPT_KEYS];
static int	next_kept_key;

/* What failed can only be memory or the library's own set-up. */
static void
library_failed(const char *what)
{
	ERR_clear_error();
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute %s", what)));
}

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

/* The same as a value to be stored. */
bytea *
payorder_sha256_of(const void *data, size_t length)
{
	bytea	   *digest = palloc(VARHDRSZ + SHA256_BYTES);

	SET_VARSIZE(digest, VARHDRSZ + SHA256_BYTES);
	payorder_sha256(data, length, (uint8 *) VARDATA(digest));
	return digest;
}

/* ---- HMAC ---- */

/* One that has no key yet; each use has a copy, whose freeing cleanses it. */
static EVP_MAC_CTX *
hmac_template(void)
{
	static EVP_MAC_CTX *template;
	char		digest[] = "SHA256";
	EVP_MAC    *mac;
	OSSL_PARAM	parameters[2];

	if (template != NULL)
		return template;
	parameters[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
													 digest, 0);
	parameters[1] = OSSL_PARAM_construct_end();
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	template = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	if (template != NULL && !EVP_MAC_CTX_set_params(template, parameters))
	{
		EVP_MAC_CTX_free(template);
		template = NULL;
	}
	if (template == NULL)
		library_failed("HMAC");
	return template;
}

void
payorder_hmac_sha256(Bytes key, const Bytes *parts, int count,
					 uint8 mac[SHA256_BYTES])
{
	EVP_MAC_CTX *context = EVP_MAC_CTX_dup(hmac_template());
	size_t		length = 0;
	bool		done = context != NULL &&
		EVP_MAC_init(context, key.data, key.length, NULL);

	for (int i = 0; done && i < count; i++)
		done = EVP_MAC_update(context, parts[i].data, parts[i].length);
	done = done && EVP_MAC_final(context, mac, &length, SHA256_BYTES) &&
		length == SHA256_BYTES;
	EVP_MAC_CTX_free(context);
	if (!done)
		library_failed("HMAC");
}

/* ---- RSA ---- */

static EVP_PKEY *
kept_key(Bytes der)
{
	KeptKey    *kept;
	const unsigned char *next = der.data;
	EVP_PKEY   *key;
	uint8	   *copy;

	for (int i = 0; i < KEPT_KEYS; i++)
	{
		if (kept_keys[i].key != NULL && kept_keys[i].length == der.length &&
			memcmp(kept_keys[i].der, der.data, der.length) == 0)
			return kept_keys[i].key;
	}
	copy = MemoryContextAlloc(TopMemoryContext, Max(der.length, 1));
	key = d2i_PUBKEY(NULL, &next, (long) der.length);
	if (key == NULL)
	{
		pfree(copy);
		ERR_clear_error();
		return NULL;
	}
	kept = &kept_keys[next_kept_key];
	next_kept_key = (next_kept_key + 1) % KEPT_KEYS;
	if (kept->key != NULL)
	{
		EVP_PKEY_free(kept->key);
		pfree(kept->der);
	}
	memcpy(copy, der.data, der.length);
	*kept = (KeptKey) {copy, der.length, key};
	return key;
}

/*
 * Whether a signature is that of the parts, one after the other, by RSA with
 * SHA-256 and the padding of PKCS #1 version 1.5.
 */
bool
payorder_rsa_sha256_verify(Bytes public_key, const Bytes *parts, int count,
						   Bytes signature)
{
	static EVP_MD *sha256;
	EVP_PKEY   *key = kept_key(public_key);
	EVP_MD_CTX *context;
	bool		right;

	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	context = key == NULL || sha256 == NULL ? NULL : EVP_MD_CTX_new();
	right = context != NULL &&
		EVP_DigestVerifyInit(context, NULL, sha256, NULL, key) == 1;
	for (int i = 0; right && i < count; i++)
		right = EVP_DigestVerifyUpdate(context, parts[i].data,
									   parts[i].length) == 1;
	right = right && EVP_DigestVerifyFinal(context, signature.data,
										   signature.length) == 1;
	EVP_MD_CTX_free(context);
	if (!right)
		ERR_clear_error();
	return right;
}

/* A password is asked of nobody. */
static int
no_password(char *buffer, int size, int writing, void *argument)
{
	return -1;
}

static EVP_PKEY *
read_pem(const char *text, size_t length)
{
	BIO		   *bio = BIO_new_mem_buf(text, (int) length);
	EVP_PKEY   *key = NULL;
	X509	   *certificate;

	if (bio == NULL)
		return NULL;
	key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
	if (key == NULL && BIO_reset(bio) == 1 &&
		(certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL)
	{
		key = X509_get_pubkey(certificate);
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	return key;
}

/*
 * The DER of an RSA public key that is given as PEM (a public key or a
 * certificate) or as bare base64, which may have line breaks.  No data if it
 * is none, or one of less than 2048 bits.
 */
Bytes
payorder_rsa_public_key(const char *text, size_t length)
{
	Bytes		result = {NULL, 0};
	char	   *pem;
	EVP_PKEY   *key;
	unsigned char *der = NULL;
	int			bytes;

	if (length > 64 * 1024)
		return result;
	pem = strstr(text, "-----BEGIN") != NULL ? pstrdup(text) :
		psprintf("-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
				 text);
	key = read_pem(pem, strlen(pem));
	if (key != NULL && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
		EVP_PKEY_get_bits(key) >= SMALLEST_RSA &&
		(bytes = i2d_PUBKEY(key, &der)) > 0)
	{
		void	   *copy = palloc_extended(bytes, MCXT_ALLOC_NO_OOM);

		if (copy != NULL)
		{
			memcpy(copy, der, bytes);
			result = (Bytes) {copy, bytes};
		}
	}
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return result;
}

/*
 * The serial number of a certificate that is given as PEM, in upper-case
 * hexadecimal digits; NULL if it is none.
 */
char *
payorder_certificate_serial(const char *text, size_t length)
{
	BIO		   *bio = BIO_new_mem_buf(text, (int) length);
	X509	   *certificate = bio == NULL ? NULL :
		PEM_read_bio_X509(bio, NULL, no_password, NULL);
	BIGNUM	   *number = certificate == NULL ? NULL :
		ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char	   *digits = number == NULL ? NULL : BN_bn2hex(number);
	char	   *serial = digits == NULL ? NULL :
		palloc_extended(strlen(digits) + 1, MCXT_ALLOC_NO_OOM);

	if (serial != NULL)
		strcpy(serial, digits);
	OPENSSL_free(digits);
	BN_free(number);
	X509_free(certificate);
	BIO_free(bio);
	ERR_clear_error();
	return serial;
}

/* ---- AES-256-GCM ---- */

static const EVP_CIPHER *
gcm(void)
{
	static EVP_CIPHER *cipher;

	if (cipher == NULL)
		cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (cipher == NULL)
		library_failed("AES-256-GCM");
	return cipher;
}

static void
check_gcm(Bytes key, Bytes nonce)
{
	if (key.length != 32 || nonce.length != GCM_NONCE_BYTES)
		elog(ERROR, "AES-256-GCM needs 32 bytes of key and 12 of nonce");
}

/*
 * Opens what was sealed with its tag at the end; "plain" has room for it
 * without the tag.  False: not this key, nonce or associated data, or changed.
 */
bool
payorder_aes256_gcm_decrypt(Bytes key, Bytes nonce, Bytes aad, Bytes sealed,
							uint8 *plain)
{
	EVP_CIPHER_CTX *context;
	const EVP_CIPHER *cipher = gcm();
	int			length = (int) sealed.length - GCM_TAG_BYTES;
	int			done;
	bool		right;

	check_gcm(key, nonce);
	if (length < 0)
		return false;
	context = EVP_CIPHER_CTX_new();
	right = context != NULL &&
		EVP_DecryptInit_ex(context, cipher, NULL, key.data, nonce.data) &&
		EVP_DecryptUpdate(context, NULL, &done, aad.data, (int) aad.length) &&
		EVP_DecryptUpdate(context, plain, &done, sealed.data, length) &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, GCM_TAG_BYTES,
							(uint8 *) unconstify(void *, sealed.data) + length) &&
		EVP_DecryptFinal_ex(context, plain + length, &done) > 0;
	EVP_CIPHER_CTX_free(context);
	if (!right)
	{
		OPENSSL_cleanse(plain, length);
		ERR_clear_error();
	}
	return right;
}

/* Seals; "sealed" has room for the tag, which comes at the end. */
void
payorder_aes256_gcm_encrypt(Bytes key, Bytes nonce, Bytes aad, Bytes plain,
							uint8 *sealed)
{
	EVP_CIPHER_CTX *context;
	const EVP_CIPHER *cipher = gcm();
	int			done;
	bool		right;

	check_gcm(key, nonce);
	context = EVP_CIPHER_CTX_new();
	right = context != NULL &&
		EVP_EncryptInit_ex(context, cipher, NULL, key.data, nonce.data) &&
		EVP_EncryptUpdate(context, NULL, &done, aad.data, (int) aad.length) &&
		EVP_EncryptUpdate(context, sealed, &done, plain.data,
						  (int) plain.length) &&
		EVP_EncryptFinal_ex(context, sealed + plain.length, &done) &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, GCM_TAG_BYTES,
							sealed + plain.length);
	EVP_CIPHER_CTX_free(context);
	if (!right)
		library_failed("AES-256-GCM");
}

/* ---- bytes ---- */

/* In a time that does not depend on where they differ. */
bool
payorder_same_bytes(const void *left, const void *right, size_t length)
{
	return CRYPTO_memcmp(left, right, length) == 0;
}

/* Overwrites a secret, so that the compiler can't leave it out. */
void
payorder_cleanse(void *data, size_t length)
{
	OPENSSL_cleanse(data, length);
}

/*
 * Reads hex digits into half as many bytes; false if there is anything else.
 */
bool
payorder_unhex(const char *text, size_t length, uint8 *bytes)
{
	if (length % 2 != 0 ||
		strspn(text, "0123456789abcdefABCDEF") < length)
		return false;
	hex_decode(text, length, (char *) bytes);
	return true;
}

/*
 * The bytes of a base64 text, NULL if it is not written as an encoder would
 * write them: blanks, line breaks and spare bits are refused, so that there is
 * one text for some bytes.
 */
uint8 *
payorder_unbase64(const char *text, size_t length, size_t *count)
{
	int			room = pg_b64_dec_len((int) length);
	uint8	   *bytes = palloc(room + 1);
	char	   *again;
	int			written;

	written = pg_b64_decode(text, (int) length, (char *) bytes, room);
	if (written < 0)
		return NULL;
	again = palloc(pg_b64_enc_len(written) + 1);
	if (pg_b64_encode((char *) bytes, written, again,
					  pg_b64_enc_len(written)) != (int) length ||
		memcmp(text, again, length) != 0)
		return NULL;
	*count = written;
	pfree(again);
	return bytes;
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
