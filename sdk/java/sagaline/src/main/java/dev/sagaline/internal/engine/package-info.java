/** Drives the machine of a worker: its streams over gRPC, its clock, and the threads of user code. */
package dev.sagaline.internal.engine;
