"""From documents to a plan: checks across documents, compilation, pictures of a plan and differences between two.

Only a docstring: whoever carries a plan out imports `vafw.plan.plan` and must not pay for reading documents.
`vafw.plan.compile` has `check` and `compile_plan`, `vafw.plan.graph` draws, `vafw.plan.difference` compares.
"""
