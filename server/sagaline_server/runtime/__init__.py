"""The shell around the pure core: it owns tasks, queues and timers, and decides nothing."""
