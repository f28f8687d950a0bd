/*-------------------------------------------------------------------------
 *
 * json.c
 *		A strict JSON document as a tree, built by the server's own parser.
 *
 * jsonb drops all but the last of two equal keys and a cast rounds; where
 * money and definitions are read, a key that is there twice is refused and
 * numbers stay as they were written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonfuncs.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "json.h"

/* The look for a key that is there twice is quadratic. */
#define MOST_MEMBERS	5000

typedef struct Builder
{
	JsonNode   *root;
	JsonNode   *open;			/* the container that is being read */
	char	   *name;			/* of the member that comes next */
	int			sqlstate;
	const char *what;
} Builder;

static JsonNode *
add_node(Builder *builder, JsonKind kind)
{
	JsonNode   *node = palloc0(sizeof(JsonNode));

	node->kind = kind;
	node->parent = builder->open;
	node->name = builder->name;
	builder->name = NULL;
	if (builder->open == NULL)
		builder->root = node;
	else if (builder->open->last == NULL)
		builder->open->first = builder->open->last = node;
	else
	{
		builder->open->last->next = node;
		builder->open->last = node;
	}
	return node;
}

static JsonActionResult
object_start(void *state)
{
	Builder    *builder = state;

	builder->open = add_node(builder, JSON_OBJECT);
	JSON_ACTION_DONE;
}

static JsonActionResult
array_start(void *state)
{
	Builder    *builder = state;

	builder->open = add_node(builder, JSON_ARRAY);
	JSON_ACTION_DONE;
}

static JsonActionResult
container_end(void *state)
{
	Builder    *builder = state;

	builder->open = builder->open->parent;
	JSON_ACTION_DONE;
}

static JsonActionResult
member_start(void *state, char *name, bool isnull)
{
	Builder    *builder = state;

	CHECK_FOR_INTERRUPTS();
	if (++builder->open->members > MOST_MEMBERS)
		ereport(ERROR,
				(errcode(builder->sqlstate),
				 errmsg("%s has an object with too many keys", builder->what),
				 errhint("An object may have up to %d.", MOST_MEMBERS)));
	if (payorder_json_member(builder->open, name) != NULL)
		ereport(ERROR,
				(errcode(builder->sqlstate),
				 errmsg("%s has a key that is there twice", builder->what),
				 errdetail("The key is \"%.*s\".",
						   pg_mbcliplen(name, strlen(name), 63), name),
				 errhint("Give each key once.")));
	builder->name = pstrdup(name);
	JSON_ACTION_DONE;
}

static JsonActionResult
scalar(void *state, char *token, JsonTokenType type)
{
	Builder    *builder = state;
	JsonKind	kind = JSON_NULL;

	if (type == JSON_TOKEN_STRING)
		kind = JSON_STRING;
	else if (type == JSON_TOKEN_NUMBER)
		kind = JSON_NUMBER;
	else if (type == JSON_TOKEN_TRUE || type == JSON_TOKEN_FALSE)
		kind = JSON_BOOLEAN;
	add_node(builder, kind)->text = pstrdup(token);
	JSON_ACTION_DONE;
}

/*
 * Parses a document; a key that is there twice is an error with the given
 * SQLSTATE, in which "what" names the document.
 */
JsonNode *
payorder_json_parse(const char *text, int sqlstate, const char *what)
{
	Builder		builder = {.sqlstate = sqlstate,.what = what};
	JsonSemAction actions = {0};

	actions.semstate = &builder;
	actions.object_start = object_start;
	actions.object_end = container_end;
	actions.array_start = array_start;
	actions.array_end = container_end;
	actions.object_field_start = member_start;
	actions.scalar = scalar;
	pg_parse_json_or_ereport(payorder_json_lexer(pstrdup(text), strlen(text)),
							 &actions);
	return builder.root;
}

/* The member of an object, NULL if there is none or it is no object. */
JsonNode *
payorder_json_member(const JsonNode *object, const char *name)
{
	if (object == NULL || object->kind != JSON_OBJECT)
		return NULL;
	for (JsonNode *node = object->first; node != NULL; node = node->next)
	{
		if (strcmp(node->name, name) == 0)
			return node;
	}
	return NULL;
}

/* ---- a document that is made ---- */

JsonNode *
payorder_json_new_object(void)
{
	JsonNode   *node = palloc0(sizeof(JsonNode));

	node->kind = JSON_OBJECT;
	return node;
}

JsonNode *
payorder_json_string(const char *text)
{
	JsonNode   *node = palloc0(sizeof(JsonNode));

	node->kind = JSON_STRING;
	node->text = pstrdup(text);
	return node;
}

/*
 * Adds a member, whose name must be new in the object; a value that is part of
 * another document leaves it no longer whole.
 */
void
payorder_json_add(JsonNode *object, const char *name, JsonNode *value)
{
	value->name = pstrdup(name);
	value->parent = object;
	value->next = NULL;
	if (object->last == NULL)
		object->first = value;
	else
		object->last->next = value;
	object->last = value;
	object->members++;
}

bool
payorder_json_is_true(const JsonNode *object, const char *name)
{
	JsonNode   *node = payorder_json_member(object, name);

	return node != NULL && node->kind == JSON_BOOLEAN &&
		strcmp(node->text, "true") == 0;
}

/*
 * A JSON number as bigint, false unless it is written as a plain integer that
 * fits: 100.5, 1e2 and "100" are not, so that nothing is ever rounded.
 */
bool
payorder_json_bigint(const JsonNode *number, int64 *result)
{
	char	   *end;

	if (number == NULL || number->kind != JSON_NUMBER ||
		strspn(number->text, "-0123456789") != strlen(number->text))
		return false;
	errno = 0;
	*result = strtoi64(number->text, &end, 10);
	return errno == 0 && *end == '\0';
}

/*
 * Builds a JSON object from names and values by turns.  Types: t text, L
 * bigint by reference, l bigint, j json; a NULL leaves its member out.
 */
char *
payorder_json_object(const char *types,...)
{
	StringInfoData object;
	va_list		arguments;

	initStringInfo(&object);
	va_start(arguments, types);
	for (; *types != '\0'; types++)
	{
		const char *name = va_arg(arguments, const char *);
		int64		number = 0;
		const void *value = NULL;

		if (*types == 'l')
			number = va_arg(arguments, int64);
		else
			value = va_arg(arguments, const void *);
		if (*types == 'L' && value != NULL)
			number = *(const int64 *) value;
		if (*types != 'l' && value == NULL)
			continue;
		appendStringInfoString(&object, object.len == 0 ? "{" : ", ");
		escape_json(&object, name);
		appendStringInfoString(&object, ": ");
		if (*types == 't')
			escape_json(&object, value);
		else if (*types == 'j')
			appendStringInfoString(&object, value);
		else
			appendStringInfo(&object, INT64_FORMAT, number);
	}
	va_end(arguments);
	appendStringInfoString(&object, object.len == 0 ? "{}" : "}");
	return object.data;
}

static void
write_node(StringInfo text, const JsonNode *node)
{
	bool		is_object = node->kind == JSON_OBJECT;

	if (node->kind == JSON_STRING)
		escape_json(text, node->text);
	else if (!is_object && node->kind != JSON_ARRAY)
		appendStringInfoString(text, node->text);
	else
	{
		appendStringInfoChar(text, is_object ? '{' : '[');
		for (JsonNode *child = node->first; child; child = child->next)
		{
			if (child != node->first)
				appendStringInfoString(text, ", ");
			if (is_object)
			{
				escape_json(text, child->name);
				appendStringInfoString(text, ": ");
			}
			write_node(text, child);
		}
		appendStringInfoChar(text, is_object ? '}' : ']');
	}
}

/* A part of a document as text again. */
char *
payorder_json_text(const JsonNode *node)
{
	StringInfoData text;

	initStringInfo(&text);
	write_node(&text, node);
	return text.data;
}

/* ---- times ---- */

/* "2026-05-01T10:00:00+08:00": the form is checked, so no setting matters. */
static bool
is_iso_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	size_t		length = strlen(form);

	if (strlen(text) < length)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (form[i] == 'd' ? !isdigit((unsigned char) text[i]) :
			form[i] != text[i] && !(form[i] == 'T' && text[i] == ' '))
			return false;
	}
	text += length;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	return strcmp(text, "Z") == 0 ||
		((*text == '+' || *text == '-') && isdigit((unsigned char) text[1]) &&
		 strspn(text + 1, "0123456789:") == strlen(text + 1));
}

/*
 * Reads an ISO 8601 time with its zone; false if it is not written so.  One
 * that is out of range is an error.
 */
bool
payorder_iso_time(const char *text, TimestampTz *time)
{
	if (!is_iso_time(text))
		return false;
	*time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													CStringGetDatum(text),
													ObjectIdGetDatum(InvalidOid),
													Int32GetDatum(-1)));
	return true;
}
