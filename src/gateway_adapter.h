/*-------------------------------------------------------------------------
 *
 * gateway_adapter.h
 *		What gateway.c and the adapters of gateways say to each other.
 *
 * An adapter is one file gateway_<adapter>.c and one row of the table in
 * gateway.c.  It gets a raw HTTP message and the gateway's valid keys, first
 * verifies the raw bytes, then decrypts, then parses, and returns what the
 * message says as a list.  It writes nothing and takes no lock; what it does
 * not take, it rejects with a reason, and never says anything of the bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GATEWAY_ADAPTER_H
#define PAYORDER_GATEWAY_ADAPTER_H

#include "nodes/pg_list.h"

#include "callback.h"
#include "gateway_key.h"
#include "json.h"

/* One merchant account, as its adapter needs it. */
typedef struct GatewayProfile
{
	const char *gateway;
	const char *merchant_id;
	const char *app_scope;
	bool		live;			/* not test mode */
	const char *capture_mode;	/* auto, manual, or NULL */
	int64		time_window;	/* microseconds, both ways */
	const JsonNode *exponents;	/* {"CUR": digits}, before ISO 4217's */
	const JsonNode *settings;	/* of this adapter alone, an object */
} GatewayProfile;

/* A header of a message; its name is in lower case. */
typedef struct Header
{
	const char *name;
	const char *value;
	bool		twice;			/* under several spellings, or as a list */
} Header;

typedef struct RawMessage
{
	const GatewayProfile *gateway;
	const GatewayKey *keys;		/* those that are valid */
	int			key_count;
	const Header *headers;
	int			header_count;
	const char *body;			/* as it came, and a NUL after it */
	size_t		length;
	TimestampTz at;				/* when it came */
} RawMessage;

/* One fact of a message, or what became of it instead. */
typedef struct Decoded
{
	Message		message;		/* gateway and source are gateway.c's to set */
	JsonNode   *payload;		/* the part of the body that says it */
	const char *own_id;			/* of that part, if it is no id of the fact */
	const char *rejected;		/* the reason, NULL: it is not */
	const char *ignored;		/* its type, NULL: it is not */
	bool		noteworthy;		/* ignored, but kept for people */
} Decoded;

typedef struct HttpAnswer
{
	int			status;
	const char *type;
	const char *body;
} HttpAnswer;

typedef struct Adapter
{
	const char *name;
	const char *defaults;		/* settings of a new gateway, as JSON */
	KeyKind		verify_with;	/* kinds of its keys */
	KeyKind		decrypt_with;
	HttpAnswer	accepted;		/* committed: don't send it again */
	HttpAnswer	refused;		/* not taken */
	HttpAnswer	later;			/* undecided: send it again */
	const char *const *kept_headers;	/* stored with callbacks; ends with NULL */
	/* raises what is wrong with the settings; NULL: nothing can be */
	void		(*check) (const GatewayProfile *gateway);
	List	   *(*decode) (const RawMessage *raw);
} Adapter;

extern const Adapter *payorder_adapter(const char *name);

extern const Adapter payorder_adapter_stripe;
extern const Adapter payorder_adapter_wechatpay;
extern const Adapter payorder_adapter_alipay;
extern const Adapter payorder_adapter_adyen;
extern const Adapter payorder_adapter_hmac;

/*
 * Why a message is rejected.  These go to the quarantine and to the answer's
 * detail; VERDICTS.md, lines 1 to 3.
 */
#define REJECTED_HEADER		"header"	/* missing, twice, or of a wrong form */
#define REJECTED_SIGNATURE	"signature"
#define REJECTED_TIME		"time"		/* outside of the time window */
#define REJECTED_PROBE		"probe"		/* the gateway tests whether we verify */
#define REJECTED_KEY		"key_unknown"
#define REJECTED_DECRYPT	"decrypt"
#define REJECTED_BODY		"body"		/* not what the protocol says */
#define REJECTED_SIZE		"size"
#define REJECTED_MERCHANT	"merchant"	/* another account, app, or mode */

/* ---- gateway_message.c: what adapters share ---- */

pg_attribute_noreturn() extern void payorder_reject(const char *reason);
extern const char *payorder_header(const RawMessage *raw, const char *name);
extern const char *payorder_required_header(const RawMessage *raw,
											const char *name);
extern int64 payorder_unix_time(const char *digits);
extern void payorder_check_window(const RawMessage *raw, int64 unix_seconds);
extern JsonNode *payorder_body_json(const char *text, size_t length);
extern const char *payorder_string_at(const JsonNode *node, const char *path);
extern JsonNode *payorder_node_at(const JsonNode *node, const char *path);
extern const char *payorder_id_at(const JsonNode *node, const char *path);
extern TimestampTz payorder_time_at(const JsonNode *node, const char *path);
extern void payorder_minor_amount(const RawMessage *raw, Message *message,
								  const JsonNode *number,
								  const char *currency);
extern void payorder_decimal_amount(const RawMessage *raw, Message *message,
									const char *text, const char *currency);
extern Decoded *payorder_decoded(JsonNode *payload, MessageEvent event);
extern Decoded *payorder_ignored(JsonNode *payload, const char *type,
								 bool noteworthy);
pg_attribute_noreturn() extern void payorder_wrong_setting(const char *setting,
														   const char *hint);
extern void payorder_check_setting_names(const GatewayProfile *gateway,
										 const char *const *known);
extern const char *payorder_rejection(const ErrorData *error);

extern void payorder_gateway_register(void);

#endif							/* PAYORDER_GATEWAY_ADAPTER_H */
