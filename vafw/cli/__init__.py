"""The command line: parses, calls, prints; decides nothing. One module a verb, imported only when it is asked for."""
