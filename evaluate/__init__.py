"""Is a generation better? Closed-loop results, the gate, the report."""
