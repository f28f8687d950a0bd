/*-------------------------------------------------------------------------
 *
 * gateway_form.h
 *		A body of type application/x-www-form-urlencoded, read strictly.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GATEWAY_FORM_H
#define PAYORDER_GATEWAY_FORM_H

typedef struct FormField
{
	const char *name;			/* letters, digits, "_", "-" and "." */
	const char *value;			/* decoded bytes, in no known encoding */
	size_t		length;			/* of the value, after which comes a NUL */
} FormField;

typedef struct Form
{
	int			count;
	FormField  *fields;			/* sorted by their names' bytes */
} Form;

extern Form payorder_form_parse(const char *body, size_t length);
extern const FormField *payorder_form_field(const Form *form,
											const char *name);

#endif							/* PAYORDER_GATEWAY_FORM_H */
