package machine

import (
	"log/slog"
	"time"

	pb "sagaline.dev/sdk/go/sagaline/v1"
)

// Effect is something that the shell has to do.
type Effect interface{ isEffect() }

type (
	// Start asks to run user code for an attempt, once, and to answer with Finished or NotStarted.
	Start struct{ Attempt *Attempt }
	// Stop asks to tell the user code of a started attempt why it is to end. It is still answered with Finished. An
	// attempt may be told twice: an advice first, and then an order.
	Stop struct {
		Ref    Ref
		Reason StopReason
	}
	// Welcomed tells that the session at an address is open, and with which SEC.
	Welcomed struct {
		Address, SEC string
		Refused      map[string]string
	}
	// EndStream asks to end a stream and then to say Ended. With HalfClose what is queued is still written, only our
	// half is ended, and the SEC's end is waited for.
	EndStream struct {
		Address, Why string
		HalfClose    bool
	}
	// Connect asks to open a stream and then to say Opened.
	Connect struct {
		Address      string
		FreshChannel bool
	}
	// Call asks to call ReportResults at an address, with a deadline, and then to say Called.
	Call struct {
		Address string
		Request *pb.ReportResultsRequest
	}
	// Closed tells that the session at an address is over for good; Error says why where nobody asked for that.
	Closed struct{ Address, Error string }
	// Note is something that a person may want to read: never a payload.
	Note struct {
		Level slog.Level
		Text  string
		Facts []any
	}

	// reconnect tells the fleet from when on a session can do with a new stream.
	reconnect struct {
		address  string
		at       time.Time
		fresh    bool
		failures int
	}
	// members tells the fleet who the SECs are.
	members struct{ secs *pb.SecSet }
)

func (Start) isEffect()     {}
func (Stop) isEffect()      {}
func (Welcomed) isEffect()  {}
func (EndStream) isEffect() {}
func (Connect) isEffect()   {}
func (Call) isEffect()      {}
func (Closed) isEffect()    {}
func (Note) isEffect()      {}
func (reconnect) isEffect() {}
func (members) isEffect()   {}

// effects collects what one event asks for, in order.
type effects struct{ list []Effect }

func (e *effects) add(effect Effect) { e.list = append(e.list, effect) }

func (e *effects) note(level slog.Level, text string, facts ...any) { e.add(Note{level, text, facts}) }

func (e *effects) take() []Effect {
	taken := e.list
	e.list = nil
	return taken
}
