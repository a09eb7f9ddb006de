"""The service as a process of its own, killed or cut off from its database at every step of storing."""
