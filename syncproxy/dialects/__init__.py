"""From the wire to neutral requests and back, one module a dialect."""
