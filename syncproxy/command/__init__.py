"""What the operator meets: options, secret, listeners, logs, start and stop."""
