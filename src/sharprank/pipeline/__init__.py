"""The main job as one command: mine, train, evaluate, each through its own stage. Adds data and order, no method."""
