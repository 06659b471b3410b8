"""What runs inside a guest: Linux's first process, with the standard library, `vafw.traffic` and the ground below it.

channel     one JSON object a line, to and from the platform
interfaces  the guest's network interfaces, named as the plan names its ports
filter      a ruleset, enforced by the guest's own kernel; bridging and routing are what joins its ports
uplinks     several ways to the wire: routes, and whether their next hops answer
named_sets  what the kernel's sets for host names hold
tracked     the kernel's connections, forgotten where new rules would not accept them
packets     frames as they are on the path
program     a packet appliance's program, between two ports
held        what a program sends behind a notice, until the firewall knows
agent       the process of the configuration agent, where the platform wants one
libraries   what few programs need, and only they and agents have unpacked
relay       the agent's way to the broker; frames is what goes over its port
desktop     the user's OS: the host's own network stack, a script, a screen
"""
