"""Pure sliding sync: neutral requests and answers, ranges, list ops, required state."""
