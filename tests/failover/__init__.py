"""Real processes, killed, stopped and cut off by seeds and at named points."""
