"""Speed and memory, measured: a homeserver stand-in, a load client and a floor, each in a process of its own."""
