"""A ruleset as nftables text: `rendering` is the way in, `table` what comes out, the rest how rules become either.

`statement` writes one rule as lines of a chain, `verdict_maps` writes thousands as one lookup, and `rules` decides
which of the two each rule gets.
"""
