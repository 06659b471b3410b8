"""Rules, header space, the packet engine, captures, DNS and nftables text; import the module you need."""
