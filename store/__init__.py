"""Sealed episodes on disk are the truth; `loop.duckdb` is an index that can be made again from them."""
