"""The run loop: budget, log, resume, comparison over seeds."""
