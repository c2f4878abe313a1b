// Package machine is the worker side of the Sagaline protocol without I/O, clock, randomness or goroutines.
//
// Its shell tells it what happens (a stream was opened, a frame came, user code ended, time has passed) together with
// the time, and does what the returned effects ask. Frames are pulled: whoever writes a stream asks [Session.NextFrame]
// when the stream is free, so that all that has gathered leaves together and a lone item leaves at once.
//
// protos/README.md numbers the rules that are kept here (W1, W2, ...). The parts are
//
//   - [Fleet]: all sessions, and which addresses are dialled when;
//   - [Session]: the streams to one address, one after another;
//   - [Holdings]: what outlives every stream: attempts, slots, and answers that nobody has confirmed.
//
// Nothing here may be called by two goroutines at once.
package machine
