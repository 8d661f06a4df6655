"""What `make proto` makes of `proto/patinox/v1/streams.proto`; not to be edited."""
