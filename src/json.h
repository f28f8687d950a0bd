/*-------------------------------------------------------------------------
 *
 * json.h
 *		A strict JSON document as a tree.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_JSON_H
#define PAYORDER_JSON_H

#include "datatype/timestamp.h"

typedef enum JsonKind
{
	JSON_NULL,
	JSON_BOOLEAN,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
} JsonKind;

typedef struct JsonNode
{
	JsonKind	kind;
	char	   *name;			/* of the member, NULL outside of objects */
	char	   *text;			/* scalars: as written, strings unescaped */
	int			members;		/* of an object */
	struct JsonNode *parent;
	struct JsonNode *first;		/* members or elements, in their order */
	struct JsonNode *last;
	struct JsonNode *next;
} JsonNode;

extern JsonNode *payorder_json_parse(const char *text, int sqlstate,
									 const char *what);
extern JsonNode *payorder_json_member(const JsonNode *object,
									  const char *name);
extern JsonNode *payorder_json_new_object(void);
extern JsonNode *payorder_json_string(const char *text);
extern void payorder_json_add(JsonNode *object, const char *name,
							  JsonNode *value);
extern bool payorder_json_is_true(const JsonNode *object, const char *name);
extern char *payorder_json_text(const JsonNode *node);
extern char *payorder_json_object(const char *types,...);
extern bool payorder_json_bigint(const JsonNode *number, int64 *result);
extern bool payorder_iso_time(const char *text, TimestampTz *time);

#endif							/* PAYORDER_JSON_H */
