"""takeover: every takeover of a simulator driver becomes a better driving policy.

Calls point downward only:
cli -> doctor -> loop -> evaluate -> collect | refine -> sim_bridge | models -> store -> scoring -> vocabulary -> config
-> errors. `collect` and `refine` meet only in the store; `sim_bridge` and `models` do not know each other.
"""

__version__ = "0.1.0"
