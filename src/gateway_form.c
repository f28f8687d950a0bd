/*-------------------------------------------------------------------------
 *
 * gateway_form.c
 *		A body of type application/x-www-form-urlencoded, read strictly.
 *
 * What comes out is bytes: their encoding is a field's to say, and that is
 * believed only when the signature over the bytes is right.  A form that can
 * be read in two ways is rejected: a name that is there twice or has odd
 * characters, a bad escape, a byte that an encoder would have escaped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gateway_adapter.h"
#include "gateway_form.h"

/* Gateways send about thirty. */
#define MOST_FIELDS		256

#define NAME_CHARACTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	payorder_reject(REJECTED_BODY);
}

/* Decodes what is before "end" in place and ends it with a NUL. */
static size_t
decode(char *text, const char *end)
{
	char	   *to = text;

	for (const char *from = text; from < end; from++)
	{
		char		c = *from;

		if (c <= ' ' || c > '~')
			payorder_reject(REJECTED_BODY);
		if (c == '+')
			c = ' ';
		else if (c == '%')
		{
			if (end - from < 3)
				payorder_reject(REJECTED_BODY);
			c = (char) (hex_digit(from[1]) << 4 | hex_digit(from[2]));
			from += 2;
		}
		if (c == '\0')
			payorder_reject(REJECTED_BODY);
		*to++ = c;
	}
	*to = '\0';
	return to - text;
}

static void
read_field(FormField *field, char *text, char *end)
{
	char	   *equals = memchr(text, '=', end - text);
	size_t		length;

	if (equals == NULL)
		payorder_reject(REJECTED_BODY);
	length = decode(text, equals);
	if (length == 0 || strspn(text, NAME_CHARACTERS) != length)
		payorder_reject(REJECTED_BODY);
	field->name = text;
	field->value = equals + 1;
	field->length = decode(equals + 1, end);
}

static int
compare_names(const void *left, const void *right)
{
	return strcmp(((const FormField *) left)->name,
				  ((const FormField *) right)->name);
}

/* Rejects what has not the form; the fields are a copy. */
Form
payorder_form_parse(const char *body, size_t length)
{
	Form		form = {0, palloc(MOST_FIELDS * sizeof(FormField))};
	char	   *text = palloc(length + 1);
	char	   *end = text + length;

	memcpy(text, body, length);
	*end = '\0';
	for (char *next; text <= end; text = next + 1)
	{
		next = memchr(text, '&', end - text);
		if (next == NULL)
			next = end;
		if (form.count == MOST_FIELDS)
			payorder_reject(REJECTED_BODY);
		read_field(&form.fields[form.count++], text, next);
	}
	qsort(form.fields, form.count, sizeof(FormField), compare_names);
	for (int i = 1; i < form.count; i++)
	{
		if (strcmp(form.fields[i - 1].name, form.fields[i].name) == 0)
			payorder_reject(REJECTED_BODY);
	}
	return form;
}

/* The field of a name, NULL if there is none or its value is empty. */
const FormField *
payorder_form_field(const Form *form, const char *name)
{
	FormField	wanted = {.name = name};
	const FormField *field = bsearch(&wanted, form->fields, form->count,
									 sizeof(FormField), compare_names);

	return field == NULL || field->length == 0 ? NULL : field;
}
