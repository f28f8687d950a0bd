/*
 * What OpenSSL's bare primitives cost: everything is prepared, and only the
 * calls that can't be spared are made, over and over.
 *
 *	primitive hmac|rsa|gcm BYTES TIMES <private key, for rsa
 *
 * measure.py runs it under callgrind for two numbers of times; the difference
 * is the primitive.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static unsigned char data[1 << 20];
static unsigned char out[(1 << 20) + 16];

static void
must(int done)
{
	if (!done)
		exit(2);
}

static void
hmac(size_t bytes, int times)
{
	char		digest[] = "SHA256";
	OSSL_PARAM	parameters[] = {
		OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 6),
		OSSL_PARAM_END
	};
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(EVP_MAC_fetch(NULL, "HMAC", NULL));
	size_t		length;

	must(EVP_MAC_CTX_set_params(context, parameters));
	for (int i = 0; i < times; i++)
		must(EVP_MAC_init(context, data, 38, NULL) &&
			 EVP_MAC_update(context, data, bytes) &&
			 EVP_MAC_final(context, out, &length, sizeof(out)));
}

static void
rsa(size_t bytes, int times)
{
	EVP_PKEY   *pair = PEM_read_PrivateKey(stdin, NULL, NULL, NULL);
	EVP_PKEY   *key;
	unsigned char *der = NULL;
	const unsigned char *next;
	int			der_length = i2d_PUBKEY(pair, &der);
	EVP_MD	   *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t		length = sizeof(out);

	next = der;
	key = d2i_PUBKEY(NULL, &next, der_length);
	must(key != NULL &&
		 EVP_DigestSignInit(context, NULL, sha256, NULL, pair) == 1 &&
		 EVP_DigestSign(context, out, &length, data, bytes) == 1);
	for (int i = 0; i < times; i++)
	{
		EVP_MD_CTX_reset(context);
		must(EVP_DigestVerifyInit(context, NULL, sha256, NULL, key) == 1 &&
			 EVP_DigestVerify(context, out, length, data, bytes) == 1);
	}
}

static void
gcm(size_t bytes, int times)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	static unsigned char plain[1 << 20];
	unsigned char tag[16];
	int			done;

	must(EVP_EncryptInit_ex(context, cipher, NULL, data, data) &&
		 EVP_EncryptUpdate(context, out, &done, data, (int) bytes) &&
		 EVP_EncryptFinal_ex(context, out, &done) &&
		 EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag));
	for (int i = 0; i < times; i++)
		must(EVP_DecryptInit_ex(context, cipher, NULL, data, data) &&
			 EVP_DecryptUpdate(context, plain, &done, out, (int) bytes) &&
			 EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, 16, tag) &&
			 EVP_DecryptFinal_ex(context, plain, &done) > 0);
}

int
main(int argc, char **argv)
{
	size_t		bytes = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	int			times = argc == 4 ? atoi(argv[3]) : 0;

	must(argc == 4 && bytes <= sizeof(data));
	if (strcmp(argv[1], "hmac") == 0)
		hmac(bytes, times);
	else if (strcmp(argv[1], "rsa") == 0)
		rsa(bytes, times);
	else
		gcm(bytes, times);
	return 0;
}
