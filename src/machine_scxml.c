/*-------------------------------------------------------------------------
 *
 * machine_scxml.c
 *		Machines as State Chart XML (W3C SCXML 1.0), for other tools.
 *
 * Guards and `within` become conditions that call functions of their names;
 * tasks, alarms and what is done to stock become events that are sent; a timer
 * is an event sent with a delay at the state's entry.  A final state that
 * money can leave is an ordinary state there, since SCXML ends in <final>.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "machine.h"

#define INDENT	"    "

/* Definitions allow names that need no escaping in XML, and nothing else. */
static void
add_sends(StringInfo buffer, const char *indent, const char *what,
		  const char *const *names)
{
	for (; *names != NULL; names++)
		appendStringInfo(buffer, "%s<send event=\"%s.%s\"/>\n", indent, what,
						 *names);
}

static void
add_delay(StringInfo buffer, const char *attribute, int64 duration)
{
	if (duration % USECS_PER_SEC == 0)
		appendStringInfo(buffer, " %s=\"" INT64_FORMAT "s\"", attribute,
						 duration / USECS_PER_SEC);
	else
		appendStringInfo(buffer, " %s=\"" INT64_FORMAT "ms\"", attribute,
						 duration / 1000);
}

static void
add_timer(StringInfo buffer, const State *state, const StateTimer *timer)
{
	static const char *const prefixes[] = {
		[TIMER_FIRE] = "",
		[TIMER_ENQUEUE] = "task.",
		[TIMER_ALARM] = "alarm."
	};

	appendStringInfo(buffer, INDENT INDENT INDENT "<send id=\"%s.%d\" event=\"%s%s\"",
					 state->name, timer->number, prefixes[timer->action],
					 timer->argument);
	add_delay(buffer, "delay", timer->after);
	appendStringInfoString(buffer, "/>");
	if (timer->parameter != NULL)
		appendStringInfo(buffer, " <!-- %s -->", timer->parameter);
	if (timer->guard != NULL)
		appendStringInfo(buffer, " <!-- if %s -->", timer->guard);
	appendStringInfoChar(buffer, '\n');
}

static bool
acts_on_entry(const State *state)
{
	return state->timer_count > 0 || *state->enqueue != NULL ||
		*state->alarm != NULL;
}

static void
add_entry(StringInfo buffer, const State *state)
{
	const char *deep = INDENT INDENT INDENT;

	if (acts_on_entry(state))
	{
		appendStringInfoString(buffer, INDENT INDENT "<onentry>\n");
		add_sends(buffer, deep, "task", state->enqueue);
		add_sends(buffer, deep, "alarm", state->alarm);
		for (int i = 0; i < state->timer_count; i++)
			add_timer(buffer, state, &state->timers[i]);
		appendStringInfoString(buffer, INDENT INDENT "</onentry>\n");
	}
	if (state->timer_count == 0)
		return;
	appendStringInfoString(buffer, INDENT INDENT "<onexit>\n");
	for (int i = 0; i < state->timer_count; i++)
		appendStringInfo(buffer, "%s<cancel sendid=\"%s.%d\"/>\n", deep,
						 state->name, state->timers[i].number);
	appendStringInfoString(buffer, INDENT INDENT "</onexit>\n");
}

static void
add_condition(StringInfo buffer, const Edge *edge)
{
	if (edge->guard == NULL && edge->within == 0)
		return;
	appendStringInfoString(buffer, " cond=\"");
	if (edge->guard != NULL)
		appendStringInfo(buffer, "%s()", edge->guard);
	if (edge->guard != NULL && edge->within != 0)
		appendStringInfoString(buffer, " &amp;&amp; ");
	if (edge->within != 0)
		appendStringInfo(buffer, "within('" INT64_FORMAT "s')",
						 edge->within / USECS_PER_SEC);
	appendStringInfoChar(buffer, '"');
}

static void
add_transition(StringInfo buffer, const Edge *edge)
{
	const char *stock[] = {edge->stock, NULL};
	const char *deep = INDENT INDENT INDENT;

	appendStringInfo(buffer, INDENT INDENT "<transition event=\"%s\" target=\"%s\"",
					 edge->event, edge->to);
	add_condition(buffer, edge);
	if (edge->stock == NULL && *edge->enqueue == NULL && *edge->alarm == NULL)
	{
		appendStringInfoString(buffer, "/>\n");
		return;
	}
	appendStringInfoString(buffer, ">\n");
	add_sends(buffer, deep, "stock", stock);
	add_sends(buffer, deep, "task", edge->enqueue);
	add_sends(buffer, deep, "alarm", edge->alarm);
	appendStringInfoString(buffer, INDENT INDENT "</transition>\n");
}

/* A machine as an SCXML document. */
char *
payorder_machine_scxml(const Machine *machine)
{
	const State **states = payorder_machine_walk(machine);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoString(&buffer, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	appendStringInfo(&buffer, "<!-- version %d -->\n", machine->version);
	appendStringInfo(&buffer, "<scxml xmlns=\"http://www.w3.org/2005/07/scxml\" version=\"1.0\" datamodel=\"ecmascript\" name=\"%s\" initial=\"%s\">\n",
					 machine->name, machine->initial);
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = states[i];
		const char *element = state->final && state->edge_count == 0 ?
			"final" : "state";

		if (state->edge_count == 0 && !acts_on_entry(state))
		{
			appendStringInfo(&buffer, INDENT "<%s id=\"%s\"/>\n", element,
							 state->name);
			continue;
		}
		appendStringInfo(&buffer, INDENT "<%s id=\"%s\">\n", element,
						 state->name);
		add_entry(&buffer, state);
		for (int j = 0; j < state->edge_count; j++)
			add_transition(&buffer, &state->edges[j]);
		appendStringInfo(&buffer, INDENT "</%s>\n", element);
	}
	appendStringInfoString(&buffer, "</scxml>\n");
	return buffer.data;
}
