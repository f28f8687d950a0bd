/*-------------------------------------------------------------------------
 *
 * machine_check.c
 *		What define_machine() proves about a definition as a whole.
 *
 * The reader (machine_read.c) has seen to it that each part is well formed
 * and that each name in it means something.  Here the states and edges are
 * looked at together:
 *
 * - every state can be reached, every other than a final one leads to a final
 *   one and has a timer, so that no order is forgotten;
 * - final states are left by the money edges "reopen" and "refunded" only;
 * - money edges are decided by money, not by guards or by hand;
 * - an order that may be unpaid can be paid: every state that is not final
 *   and can be reached without "pay" and "reopen" has a "pay" edge, and no
 *   state behind one of these has (VERDICTS.md);
 * - what was paid in part is not kept by an order that ends unpaid: a final
 *   state that can be reached behind "pay_part" without the rest refunds all.
 *
 * A plain machine, of states and events only, is for users' tables and never
 * has an order: it needs neither timers nor "pay" edges.
 *
 * The first problem is reported, states in the order of the definition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "machine_define.h"

/* The machine with its edges' targets as numbers of states. */
typedef struct Graph
{
	const Machine *machine;
	int		  **target;			/* of state and edge */
} Graph;

static char *
state_place(const State *state)
{
	return psprintf("state \"%s\"", state->name);
}

static char *
event_place(const State *state, const char *event)
{
	return psprintf("state \"%s\", event \"%s\"", state->name, event);
}

static bool
is_event(const Edge *edge, const char *event)
{
	return strcmp(edge->event, event) == 0;
}

/* Whether the edge turns an unpaid order into a paid one. */
static bool
is_payment(const Edge *edge)
{
	return is_event(edge, "pay") || is_event(edge, "reopen");
}

static bool
has_name(const char **names, const char *name)
{
	for (; *names != NULL; names++)
	{
		if (strcmp(*names, name) == 0)
			return true;
	}
	return false;
}

static bool
is_fired(const State *state, const char *event)
{
	for (int i = 0; i < state->timer_count; i++)
	{
		if (state->timers[i].action == TIMER_FIRE &&
			strcmp(state->timers[i].argument, event) == 0)
			return true;
	}
	return false;
}

static Graph *
make_graph(const Machine *machine)
{
	Graph	   *graph = palloc(sizeof(Graph));

	graph->machine = machine;
	graph->target = palloc(sizeof(int *) * machine->state_count);
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = &machine->states[i];

		graph->target[i] = palloc(sizeof(int) * (state->edge_count + 1));
		for (int j = 0; j < state->edge_count; j++)
			graph->target[i][j] =
				payorder_machine_state(machine, state->edges[j].to) -
				machine->states;
	}
	return graph;
}

static bool
any_edge(const Edge *edge)
{
	return true;
}

static bool
is_no_payment(const Edge *edge)
{
	return !is_payment(edge);
}

/* Leads on with what was paid in part: neither the rest nor all came or went. */
static bool
leaves_part(const Edge *edge)
{
	return !is_payment(edge) && !is_event(edge, "refunded");
}

/* Marks a state and what can be reached from it by edges that are followed. */
static void
mark_reached(const Graph *graph, int from, bool (*follows) (const Edge *edge),
			 bool *marked)
{
	const State *state = &graph->machine->states[from];

	check_stack_depth();
	if (marked[from])
		return;
	marked[from] = true;
	for (int i = 0; i < state->edge_count; i++)
	{
		if (follows(&state->edges[i]))
			mark_reached(graph, graph->target[from][i], follows, marked);
	}
}

/* Marks the states from which a final one can be reached. */
static void
mark_ending(const Graph *graph, bool *marked)
{
	const Machine *machine = graph->machine;
	bool		more = true;

	for (int i = 0; i < machine->state_count; i++)
		marked[i] = machine->states[i].final;
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		more = false;
		for (int i = 0; i < machine->state_count; i++)
		{
			for (int j = 0; j < machine->states[i].edge_count; j++)
			{
				if (!marked[i] && marked[graph->target[i][j]])
					marked[i] = more = true;
			}
		}
	}
}

/* Of candidates the first whose guard holds is taken: none may be in vain. */
static void
check_candidates(const State *state, const Edge *edge)
{
	for (const Edge *earlier = state->edges; earlier < edge; earlier++)
	{
		if (!is_event(earlier, edge->event))
			continue;
		if (earlier->guard == NULL)
			REFUSE_MACHINE(event_place(state, edge->event),
						   "a candidate after one without a guard is never taken",
						   "Put the candidate without a guard last.");
		if (edge->guard != NULL && strcmp(earlier->guard, edge->guard) == 0)
			REFUSE_MACHINE(event_place(state, edge->event),
						   psprintf("two candidates with the guard \"%s\"",
									edge->guard),
						   "Say each transition once.");
	}
}

/* What decides about a money edge is money. */
static void
check_money_edge(const State *state, const Edge *edge)
{
	char	   *place = event_place(state, edge->event);

	if (edge->candidate > 0)
		REFUSE_MACHINE(place, "a money edge cannot have several candidates",
					   "Give one target.");
	if (edge->guard != NULL && !is_event(edge, "reopen"))
		REFUSE_MACHINE(place, "a money edge cannot have a guard",
					   "Leave \"guard\" out; of the money edges only \"reopen\" can have one.");
	if (edge->by_timer)
		REFUSE_MACHINE(place, "a money edge cannot be left to a timer alone",
					   "Leave \"by\" out; a money edge is never taken by hand.");
	if (is_event(edge, "reopen") && !state->final)
		REFUSE_MACHINE(place, "only a final state can be reopened",
					   "Put the edge on a final state, or name its event otherwise.");
}

/* Edges of an order that is waiting for (the rest of) its payment. */
static void
check_waiting_edge(const Machine *machine, const State *state,
				   const Edge *edge)
{
	char	   *place = event_place(state, edge->event);

	if (!is_event(edge, "pay_part") && !is_event(edge, "close_confirmed"))
		return;
	if (payorder_state_edge(state, "pay") == NULL)
		REFUSE_MACHINE(place, "the state has no \"pay\" edge",
					   "Say with a \"pay\" edge where a payment leads from this state.");
	if (is_event(edge, "pay_part") &&
		payorder_machine_state(machine, edge->to)->final)
		REFUSE_MACHINE(place, "a payment in part leads to a final state",
					   "Give a target from which the rest can be paid.");
}

static void
check_edge(const Machine *machine, const State *state, const Edge *edge)
{
	char	   *place = event_place(state, edge->event);

	if (state->final && !is_event(edge, "reopen") &&
		!is_event(edge, "refunded"))
		REFUSE_MACHINE(place, "a final state is left by money edges only",
					   "Only \"reopen\" and \"refunded\" lead out of a final state.");
	if (edge->within != 0 && !is_event(edge, "reopen"))
		REFUSE_MACHINE(place, "\"within\" is for \"reopen\" edges only",
					   "Leave \"within\" out: it counts from the time at which the order was closed.");
	if (payorder_is_money_event(edge->event))
	{
		check_money_edge(state, edge);
		check_waiting_edge(machine, state, edge);
	}
	if (edge->by_timer && !is_fired(state, edge->event))
		REFUSE_MACHINE(place, "no timer of the state fires this event",
					   "Add an entry to \"after\" that fires it, or leave \"by\" out.");
	check_candidates(state, edge);
}

/* The one money event that the passing of time can stand for. */
static void
check_timer(const State *state, const StateTimer *timer)
{
	if (timer->action == TIMER_FIRE &&
		payorder_is_money_event(timer->argument) &&
		strcmp(timer->argument, "close_confirmed") != 0)
		REFUSE_MACHINE(event_place(state, timer->argument),
					   "a timer cannot fire this money event",
					   "Of the money events a timer can fire \"close_confirmed\" only.");
}

static void
check_state(const Machine *machine, const State *state)
{
	if (state->final && state->timer_count > 0)
		REFUSE_MACHINE(state_place(state), "a final state has timers",
					   "Leave \"after\" out; nothing becomes due in a final state.");
	if (state->final && has_name(state->enqueue, "close_payment"))
		REFUSE_MACHINE(state_place(state),
					   "a final state enqueues \"close_payment\" on entry",
					   "Close payments in a state with a \"close_confirmed\" edge that leads here.");
	for (int i = 0; i < state->edge_count; i++)
		check_edge(machine, state, &state->edges[i]);
	for (int i = 0; i < state->timer_count; i++)
		check_timer(state, &state->timers[i]);
}

/* No state is idle, and no order stays in the machine for ever. */
static void
check_ways(const Graph *graph, int initial)
{
	const Machine *machine = graph->machine;
	bool		is_plain = payorder_machine_is_plain(machine);
	bool	   *reached = palloc0(machine->state_count);
	bool	   *ending = palloc0(machine->state_count);

	mark_reached(graph, initial, any_edge, reached);
	mark_ending(graph, ending);
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = &machine->states[i];

		if (!reached[i])
			REFUSE_MACHINE(state_place(state),
						   "cannot be reached from the initial state",
						   "Add an edge that leads to it, or take it out.");
		if (!ending[i])
			REFUSE_MACHINE(state_place(state), "has no way out",
						   "Add edges that lead on to a final state.");
		if (!state->final && state->timer_count == 0 && !is_plain)
			REFUSE_MACHINE(state_place(state),
						   "is not final and has no timer",
						   "Say in \"after\" what happens to an order that stays here, an alarm at least.");
	}
}

/* An order that may be unpaid can be paid, one that may be paid cannot. */
static void
check_money(const Graph *graph, int initial)
{
	const Machine *machine = graph->machine;
	bool	   *unpaid = palloc0(machine->state_count);
	bool	   *paid = palloc0(machine->state_count);

	mark_reached(graph, initial, is_no_payment, unpaid);
	for (int i = 0; i < machine->state_count; i++)
	{
		for (int j = 0; j < machine->states[i].edge_count; j++)
		{
			if (is_payment(&machine->states[i].edges[j]))
				mark_reached(graph, graph->target[i][j], any_edge, paid);
		}
	}
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = &machine->states[i];
		bool		payable = payorder_state_edge(state, "pay") != NULL;

		if (paid[i] && payable)
			REFUSE_MACHINE(state_place(state),
						   "has a \"pay\" edge, though an order can be here after \"pay\" or \"reopen\"",
						   "Take the \"pay\" edge out, or keep paid and unpaid orders in different states.");
		if (unpaid[i] && !state->final && !payable)
			REFUSE_MACHINE(state_place(state),
						   "has no \"pay\" edge, though an order can be here unpaid",
						   "Say with a \"pay\" edge where a payment leads from this state.");
	}
}

/* What was paid in part goes back when the order ends without the rest. */
static void
check_parts(const Graph *graph)
{
	const Machine *machine = graph->machine;
	bool	   *part_paid = palloc0(machine->state_count);

	for (int i = 0; i < machine->state_count; i++)
	{
		for (int j = 0; j < machine->states[i].edge_count; j++)
		{
			if (is_event(&machine->states[i].edges[j], "pay_part"))
				mark_reached(graph, graph->target[i][j], leaves_part,
							 part_paid);
		}
	}
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = &machine->states[i];

		if (part_paid[i] && state->final &&
			!has_name(state->enqueue, "refund_all"))
			REFUSE_MACHINE(state_place(state),
						   "is final, an order can be here paid in part, and nothing refunds that",
						   "Give its \"entry\" the task \"refund_all\".");
	}
}

/* Raises an error unless the definition holds together. */
void
payorder_check_machine(const Machine *machine)
{
	const State *initial = payorder_machine_state(machine, machine->initial);
	bool		has_final = false;
	Graph	   *graph;

	for (int i = 0; i < machine->state_count; i++)
		has_final |= machine->states[i].final;
	if (!has_final)
		REFUSE_MACHINE(WHOLE_DEFINITION, "no state is final",
					   "Give the states in which an order ends \"type\": \"final\".");
	if (initial->final)
		REFUSE_MACHINE(state_place(initial), "the initial state is final",
					   "Name a state in \"initial\" in which an order can be paid.");
	for (int i = 0; i < machine->state_count; i++)
		check_state(machine, &machine->states[i]);
	graph = make_graph(machine);
	check_ways(graph, initial - machine->states);
	if (payorder_machine_is_plain(machine))
		return;
	check_money(graph, initial - machine->states);
	check_parts(graph);
}
