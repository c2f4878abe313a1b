/**
 * The worker side of the Sagaline protocol without I/O, clock, randomness or threads.
 *
 * <p>Its shell tells it what happens (a stream was opened, a frame came, user code ended, time has passed) together with
 * the time in nanoseconds since any moment, and does what the returned effects ask. Frames are pulled: whoever writes a
 * stream asks {@link dev.sagaline.internal.machine.Session#nextFrame} when the stream is free, so that all that has
 * gathered leaves together and a lone item leaves at once.
 *
 * <p>protos/README.md numbers the rules that are kept here (W1, W2, ...). The parts are {@link
 * dev.sagaline.internal.machine.Fleet} (all sessions, and which addresses are dialled when), {@link
 * dev.sagaline.internal.machine.Session} (the streams to one address, one after another) and {@link
 * dev.sagaline.internal.machine.Holdings} (what outlives every stream: attempts, slots, and answers that nobody has
 * confirmed). Nothing here may be called by two threads at once.
 */
package dev.sagaline.internal.machine;
