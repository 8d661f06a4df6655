"""The command line: `patinox serve | chat | tail | convert | config | formats`.

- main: the group, and what every command shares
- serve, chat, tail, convert, config_commands, formats_command: one command each
- client: the calls on a server; pieces: its bytes as they come, cut into events; following: one stream read to its
  end across reconnects
- transcript: events to what a person reads; screen: where that is shown

Exit codes: 0; 1 something failed while it ran; 2 the command or its input is wrong; 3 it could not start.
"""
