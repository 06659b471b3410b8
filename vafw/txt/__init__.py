"""Formats of Trusted Execution Technology, which the modelled PC and whoever measures a real one share."""
