/*-------------------------------------------------------------------------
 *
 * redact.c
 *		Card numbers and card verification codes, taken out of what is stored.
 *
 * A card number is 13 to 19 digits that pass the Luhn test, in one group or in
 * several that single blanks or dashes part; it is made of whole groups, so
 * that nothing inside a longer row of digits is one.  Of each all digits but
 * the last four become "*".  One number in ten of that length passes the test
 * by chance and is masked as well: that is the price.  What must stay, such as
 * the ids of the message, the caller names.
 *
 * A verification code can't be told by its digits, only by the name beside
 * it: the value of such a member is replaced, and so are 3 or 4 digits that
 * follow such a name and "=" or ":" inside of a text, which may be a form or
 * JSON of its own.
 *
 * Time is linear: from the beginning of each group no more than 19 digits are
 * looked at, before each "=" no more than the longest name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "redact.h"

#define SHORTEST_CARD	13		/* digits */
#define LONGEST_CARD	19
#define SHOWN_DIGITS	4
#define LONGEST_NAME	64		/* bytes that are looked at */

#define HIDDEN			"***"

/* Names of verification codes, in lower case, without blanks and marks. */
static const char *const code_names[] = {
	"cvv", "cvc", "cvv2", "cvc2", "cid", "csc", "cvn", "cvn2", "cvd", "cav2",
	"cvvcode", "cvccode", "cardcvv", "cardcvc", "cardcvv2", "cardcvc2",
	"cvvnumber", "cvcnumber", "cardcode", "cardcid", "cardcsc",
	"securitycode", "cardsecuritycode", "encryptedsecuritycode",
	"verificationcode", "verificationvalue",
	"cardverificationcode", "cardverificationvalue",
	"cardverificationnumber", "cardvalidationcode", "cardvalidationvalue"
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What stands between the words of a name. */
static bool
is_joint(char c)
{
	return c == '_' || c == '-' || c == ' ';
}

/* ---- names ---- */

/* Whether a name, or its part behind the last dot, is that of a code. */
static bool
names_code(const char *name, size_t length)
{
	char		plain[LONGEST_NAME + 1];
	size_t		count = 0;

	if (length > LONGEST_NAME)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (name[i] == '.')
			count = 0;
		else if (name[i] >= 'A' && name[i] <= 'Z')
			plain[count++] = name[i] - 'A' + 'a';
		else if (!is_joint(name[i]))
			plain[count++] = name[i];
	}
	plain[count] = '\0';
	for (size_t i = 0; i < lengthof(code_names); i++)
	{
		if (strcmp(plain, code_names[i]) == 0)
			return true;
	}
	return false;
}

/* ---- card numbers in a text ---- */

/* Masks all digits from first to last but the last four. */
static void
mask(char *copy, size_t first, size_t last)
{
	int			shown = 0;

	for (size_t i = last + 1; i-- > first;)
	{
		if (is_digit(copy[i]) || copy[i] == '*')
		{
			if (shown++ >= SHOWN_DIGITS)
				copy[i] = '*';
		}
	}
}

static bool
group_goes_on(const char *text, size_t i)
{
	return (text[i] == ' ' || text[i] == '-') && is_digit(text[i + 1]);
}

/*
 * Finds the last digit of the longest card number that begins with the group
 * at "first".  The Luhn sum of what was read so far is kept twice: with the
 * last digit as it is, and with it doubled, as it will be when one more comes.
 */
static bool
card_from(const char *text, size_t first, size_t *last)
{
	int			plain = 0;
	int			doubled = 0;
	int			digits = 0;
	bool		found = false;

	for (size_t i = first;; i++)
	{
		int			digit;
		int			before = doubled;

		if (!is_digit(text[i]))
		{
			if (digits >= SHORTEST_CARD && plain % 10 == 0)
			{
				found = true;
				*last = i - 1;
			}
			if (!group_goes_on(text, i))
				return found;
			i++;
		}
		if (++digits > LONGEST_CARD)
			return found;
		digit = text[i] - '0';
		doubled = plain + digit * 2 - (digit > 4 ? 9 : 0);
		plain = before + digit;
	}
}

static void
mask_cards(const char *text, char **copy)
{
	for (size_t i = 0; text[i] != '\0'; i++)
	{
		size_t		last;

		if (!is_digit(text[i]) || (i > 0 && is_digit(text[i - 1])) ||
			!card_from(text, i, &last))
			continue;
		if (*copy == NULL)
			*copy = pstrdup(text);
		mask(*copy, i, last);
	}
}

/* ---- codes in a text ---- */

static bool
is_quote(char c)
{
	return c == '"' || c == '\'' || c == '\\';
}

/* Whether a name that ends before "end" is that of a code. */
static bool
code_name_before(const char *text, size_t end)
{
	size_t		first;

	while (end > 0 && (is_quote(text[end - 1]) || text[end - 1] == ' '))
		end--;
	first = end;
	while (first > 0 && end - first <= LONGEST_NAME &&
		   (is_letter(text[first - 1]) || is_digit(text[first - 1]) ||
			text[first - 1] == '.' || text[first - 1] == '_' ||
			text[first - 1] == '-'))
		first--;
	return end > first && names_code(text + first, end - first);
}

/* Where 3 or 4 digits are after "=" or ":", and how many; 0: there are none. */
static size_t
code_after(const char *text, size_t *first)
{
	size_t		count;

	while (is_quote(text[*first]) || text[*first] == ' ')
		(*first)++;
	count = strspn(text + *first, "0123456789");
	return (count == 3 || count == 4) && !is_letter(text[*first + count]) ?
		count : 0;
}

static void
mask_codes(const char *text, char **copy)
{
	for (size_t i = strcspn(text, "=:"); text[i] != '\0';
		 i += 1 + strcspn(text + i + 1, "=:"))
	{
		size_t		first = i + 1;
		size_t		count;

		if (!code_name_before(text, i) ||
			(count = code_after(text, &first)) == 0)
			continue;
		if (*copy == NULL)
			*copy = pstrdup(text);
		memset(*copy + first, '*', count);
	}
}

/* ---- texts and trees ---- */

static bool
is_kept(const char *text, const char *const *kept, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (kept[i] != NULL && strcmp(kept[i], text) == 0)
			return true;
	}
	return false;
}

/* The redacted copy of a text, NULL if there is nothing to redact. */
static char *
redacted(const char *text, const char *const *kept, int count)
{
	char	   *copy = NULL;

	mask_cards(text, &copy);
	mask_codes(text, &copy);
	return copy != NULL && is_kept(text, kept, count) ? NULL : copy;
}

/* A copy of a text without card numbers and codes. */
char *
payorder_redact_text(const char *text, const char *const *kept, int count)
{
	char	   *copy = redacted(text, kept, count);

	return copy != NULL ? copy : pstrdup(text);
}

/* Whatever the value of a code's member was. */
static void
hide(JsonNode *node)
{
	node->kind = JSON_STRING;
	node->text = pstrdup(HIDDEN);
	node->members = 0;
	node->first = node->last = NULL;
}

static bool
is_taken(const JsonNode *node, const char *name)
{
	JsonNode   *other = node->parent == NULL ? NULL : node->parent->first;

	while (other != NULL && (other == node || strcmp(other->name, name) != 0))
		other = other->next;
	return other != NULL;
}

/*
 * Gives a member its masked name.  Two names may differ in nothing but what is
 * masked, and a key must not be there twice: then its place is added.
 */
static void
rename_member(JsonNode *node, char *name)
{
	int			place = 1;

	if (is_taken(node, name))
	{
		for (JsonNode *other = node->parent->first; other != node;
			 other = other->next)
			place++;
		do
			name = psprintf("%s#%d", name, place);
		while (is_taken(node, name));
	}
	node->name = name;
}

/*
 * Takes card numbers and codes out of a tree, of its members' names too, in
 * place.  Texts that are equal to one of "kept" stay.  A number that is masked
 * becomes a string.
 */
void
payorder_redact(JsonNode *tree, const char *const *kept, int count)
{
	char	   *copy;

	check_stack_depth();
	if (tree->name != NULL)
	{
		if (tree->kind != JSON_NULL &&
			names_code(tree->name, strlen(tree->name)))
			hide(tree);
		if ((copy = redacted(tree->name, kept, count)) != NULL)
			rename_member(tree, copy);
	}
	if ((tree->kind == JSON_STRING || tree->kind == JSON_NUMBER) &&
		(copy = redacted(tree->text, kept, count)) != NULL)
	{
		tree->text = copy;
		tree->kind = JSON_STRING;
	}
	for (JsonNode *child = tree->first; child; child = child->next)
		payorder_redact(child, kept, count);
}
