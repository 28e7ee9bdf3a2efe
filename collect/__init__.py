"""The drive loop and what comes of a drive: sealed episodes, segments, pairs."""
