"""From one look at the broker to rows. Each part compares what it saw with what is stored and keeps what changed."""
