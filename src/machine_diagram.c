/*-------------------------------------------------------------------------
 *
 * machine_diagram.c
 *		Machines for people to look at: diagrams, and which state leads to
 *		which.
 *
 * A diagram is the same text whenever it is made of the same version: states
 * follow each other by their distance from the initial one, the edges of each
 * by event and candidate.  Mermaid's labels end at a colon or semicolon; names
 * have none, and nothing here adds one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "errors.h"
#include "machine.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_machine_diagram);
PG_FUNCTION_INFO_V1(payorder_can_transition);

/* The version of a machine that an argument names, the newest if it is NULL. */
static const Machine *
machine_argument(FunctionCallInfo fcinfo, const char *name, int number)
{
	bool		newest = PG_ARGISNULL(number);
	int			version = newest ? 0 : PG_GETARG_INT32(number);
	int			id = newest ? payorder_machine_newest(name) :
		payorder_machine_version(name, version);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 newest ? errmsg("machine \"%s\" does not exist",
								 payorder_shown(name)) :
				 errmsg("version %d of machine \"%s\" does not exist",
						version, payorder_shown(name)),
				 errhint("The table payorder.machines lists machines and versions; payorder.define_machine() adds to them.")));
	return payorder_machine(id);
}

static const State *
state_argument(FunctionCallInfo fcinfo, const Machine *machine, int number,
			   const char *argument)
{
	const char *name = payorder_required_text(fcinfo, number, argument);
	const State *state = payorder_machine_state(machine, name);

	if (state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("machine \"%s\" has no state \"%s\" in its version %d",
						machine->name, payorder_shown(name), machine->version),
				 errhint("The table payorder.states lists the states of each version.")));
	return state;
}

static void
add_duration(StringInfo buffer, int64 duration)
{
	static const struct
	{
		const char *name;
		int64		length;
	}			units[] = {
		{"d", USECS_PER_DAY},
		{"h", USECS_PER_HOUR},
		{"m", USECS_PER_MINUTE},
		{"s", USECS_PER_SEC},
		{"ms", 1000},
		{"us", 1}
	};

	for (size_t i = 0; i < lengthof(units); i++)
	{
		if (duration >= units[i].length)
			appendStringInfo(buffer, " " INT64_FORMAT "%s",
							 duration / units[i].length, units[i].name);
		duration %= units[i].length;
	}
}

/*
 * A state's identifier in the diagram.  Some names are words of Mermaid's;
 * the capital keeps their stand-ins apart from all names of states.
 */
static char *
mermaid_id(const char *name)
{
	static const char *const words[] = {
		"class", "classdef", "click", "default", "direction", "hide", "href",
		"note", "scale", "state", "style"
	};

	for (size_t i = 0; i < lengthof(words); i++)
	{
		if (strcmp(name, words[i]) == 0)
			return psprintf("S_%s", name);
	}
	return pstrdup(name);
}

static void
add_firing(StringInfo buffer, const StateTimer *timer)
{
	appendStringInfoString(buffer, ", after");
	add_duration(buffer, timer->after);
	if (timer->parameter != NULL)
		appendStringInfo(buffer, " (%s)", timer->parameter);
	if (timer->guard != NULL)
		appendStringInfo(buffer, " if %s", timer->guard);
	if (timer->retry != 0)
	{
		appendStringInfoString(buffer, ", again every");
		add_duration(buffer, timer->retry);
	}
}

/* Who takes the edge: money, its timer alone, or (nothing said) anybody. */
static const char *
edge_mark(const Edge *edge)
{
	if (payorder_is_money_event(edge->event))
		return "(money) ";
	return edge->by_timer ? "(timer) " : "";
}

/* What is written at an edge. */
static void
add_label(StringInfo buffer, const State *state, const Edge *edge)
{
	appendStringInfo(buffer, "%s%s", edge_mark(edge), edge->event);
	if (edge->guard != NULL)
		appendStringInfo(buffer, " [%s]", edge->guard);
	if (edge->within != 0)
	{
		appendStringInfoString(buffer, ", within");
		add_duration(buffer, edge->within);
	}
	for (int i = 0; i < state->timer_count; i++)
	{
		const StateTimer *timer = &state->timers[i];

		if (timer->action == TIMER_FIRE &&
			strcmp(timer->argument, edge->event) == 0)
			add_firing(buffer, timer);
	}
}

/* The states by their distance from the initial one, then as edges go. */
const State **
payorder_machine_walk(const Machine *machine)
{
	const State **states = palloc(sizeof(State *) * machine->state_count);
	bool	   *seen = palloc0(machine->state_count);
	int			count = 0;

	states[count++] = payorder_machine_state(machine, machine->initial);
	seen[states[0] - machine->states] = true;
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < states[i]->edge_count; j++)
		{
			const State *next = payorder_machine_state(machine,
													   states[i]->edges[j].to);

			if (seen[next - machine->states])
				continue;
			seen[next - machine->states] = true;
			states[count++] = next;
		}
	}
	Assert(count == machine->state_count);
	return states;
}

static char *
mermaid_diagram(const Machine *machine)
{
	const State **states = payorder_machine_walk(machine);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoString(&buffer, "stateDiagram-v2\n");
	appendStringInfo(&buffer, "    %%%% machine %s, version %d\n",
					 machine->name, machine->version);
	for (int i = 0; i < machine->state_count; i++)
	{
		char	   *id = mermaid_id(states[i]->name);

		if (strcmp(id, states[i]->name) != 0)
			appendStringInfo(&buffer, "    state \"%s\" as %s\n",
							 states[i]->name, id);
	}
	appendStringInfo(&buffer, "    [*] --> %s\n",
					 mermaid_id(machine->initial));
	for (int i = 0; i < machine->state_count; i++)
	{
		for (int j = 0; j < states[i]->edge_count; j++)
		{
			const Edge *edge = &states[i]->edges[j];

			appendStringInfo(&buffer, "    %s --> %s : ",
							 mermaid_id(states[i]->name), mermaid_id(edge->to));
			add_label(&buffer, states[i], edge);
			appendStringInfoChar(&buffer, '\n');
		}
		if (states[i]->final)
			appendStringInfo(&buffer, "    %s --> [*]\n",
							 mermaid_id(states[i]->name));
	}
	return buffer.data;
}

/* For Graphviz; a doubled frame is a final state. */
static char *
dot_diagram(const Machine *machine)
{
	const State **states = payorder_machine_walk(machine);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfo(&buffer, "digraph \"%s, version %d\" {\n",
					 machine->name, machine->version);
	appendStringInfoString(&buffer, "    node [shape=box, style=rounded];\n");
	appendStringInfoString(&buffer, "    \"\" [shape=point];\n");
	appendStringInfo(&buffer, "    \"\" -> \"%s\";\n", machine->initial);
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = states[i];

		if (state->final)
			appendStringInfo(&buffer, "    \"%s\" [peripheries=2];\n",
							 state->name);
		for (int j = 0; j < state->edge_count; j++)
		{
			appendStringInfo(&buffer, "    \"%s\" -> \"%s\" [label=\"",
							 state->name, state->edges[j].to);
			add_label(&buffer, state, &state->edges[j]);
			appendStringInfoString(&buffer, "\"];\n");
		}
	}
	appendStringInfoString(&buffer, "}\n");
	return buffer.data;
}

static const struct
{
	const char *name;
	char	   *(*draw) (const Machine *machine);
}			formats[] = {
	{"mermaid", mermaid_diagram},
	{"dot", dot_diagram},
	{"scxml", payorder_machine_scxml}
};

/* machine_diagram(name text, format text, version integer) returns text */
Datum
payorder_machine_diagram(PG_FUNCTION_ARGS)
{
	char	   *name = payorder_required_text(fcinfo, 0, "name");
	char	   *format = payorder_required_text(fcinfo, 1, "format");

	for (size_t i = 0; i < lengthof(formats); i++)
	{
		if (strcmp(format, formats[i].name) == 0)
			PG_RETURN_TEXT_P(cstring_to_text(formats[i].draw(machine_argument(fcinfo, name, 2))));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown diagram format \"%s\"", payorder_shown(format)),
			 errhint("Formats are mermaid, dot and scxml.")));
}

/* can_transition(machine, from_state, to_state, version) returns boolean */
Datum
payorder_can_transition(PG_FUNCTION_ARGS)
{
	char	   *name = payorder_required_text(fcinfo, 0, "machine");
	const Machine *machine = machine_argument(fcinfo, name, 3);
	const State *from = state_argument(fcinfo, machine, 1, "from_state");
	const State *to = state_argument(fcinfo, machine, 2, "to_state");

	for (int i = 0; i < from->edge_count; i++)
	{
		if (strcmp(from->edges[i].to, to->name) == 0)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}
