"""The user OS of the examples: a small desktop that speaks to the network and shows what came of it."""
