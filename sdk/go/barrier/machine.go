package barrier

import "bytes"

// state is what is recorded of a node; "" is nothing.
type state string

const (
	nothing   state = ""
	done      state = "DONE"      // the action had its effect, and its output is recorded
	failed    state = "FAILED"    // the action failed without effect, and its failure is recorded
	undone    state = "UNDONE"    // the effect was there and has been reversed
	cancelled state = "CANCELLED" // there was no effect when the undo action came, and there will never be one
)

type answer int

const (
	run         answer = iota // the user's code runs, and how it ends is the answer
	output                    // the recorded output
	failure                   // the recorded failure
	suppressed                // the node was undone before
	undoneThen                // nothing has to run
	stale                     // a later attempt has been here
	mismatch                  // the node was recorded with other inputs
	notRecorded               // the action succeeded, and nothing is known of it here
)

// row is the record of one node.
type row struct {
	state           state
	token           int64
	digest          []byte
	output, failure []byte
}

// arrival is one attempt as it reaches the barrier.
type arrival struct {
	isUndo          bool
	token           int64
	digest          []byte
	actionSucceeded bool // the SEC has the action's success in its log
}

type found struct {
	state  state
	isUndo bool
}

type rule struct {
	answer   answer
	to       state // afterwards; "" leaves it as it is
	onFailed state // after an action that failed; "": the whole transaction is rolled back
	fenced   bool  // lower tokens and other inputs are refused. What is final is true for everybody
	nullUndo bool  // it takes the node for one without an effect, which the SEC may know better
}

// rules is the whole machine. UNDONE and CANCELLED are final: undo wins.
var rules = map[found]rule{
	{nothing, false}:   {answer: run, to: done, onFailed: failed},
	{done, false}:      {answer: output, fenced: true},
	{failed, false}:    {answer: failure, fenced: true},
	{undone, false}:    {answer: suppressed},
	{cancelled, false}: {answer: suppressed},
	{nothing, true}:    {answer: undoneThen, to: cancelled, nullUndo: true},
	{done, true}:       {answer: run, to: undone, fenced: true},
	{failed, true}:     {answer: undoneThen, to: cancelled, fenced: true, nullUndo: true},
	{undone, true}:     {answer: undoneThen},
	{cancelled, true}:  {answer: undoneThen},
}

type decision struct {
	answer       answer
	to, onFailed state
	raisesToken  bool // the token is the highest so far, and has to be recorded although the state stays
}

// decide what becomes of an arrival that found this row. A refusal changes nothing.
func decide(r row, a arrival) decision {
	rule := rules[found{r.state, a.isUndo}]
	raises := false
	if r.state != nothing && rule.fenced {
		if a.token < r.token {
			return decision{answer: stale}
		}
		if !bytes.Equal(a.digest, r.digest) {
			return decision{answer: mismatch}
		}
		raises = rule.to == "" && a.token > r.token
	}
	if rule.nullUndo && a.actionSucceeded {
		return decision{answer: notRecorded}
	}
	return decision{rule.answer, rule.to, rule.onFailed, raises}
}
