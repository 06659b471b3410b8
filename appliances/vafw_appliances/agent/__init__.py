"""The configuration agent of an appliance, as a program inside the appliance's own guest."""
