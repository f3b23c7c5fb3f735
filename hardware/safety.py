"""The guard: every command to an arm, whoever wanted it, passes here. Pure functions, no state, no assert."""
