"""The parts of the screens; each shows one thing that a pure module works out."""
