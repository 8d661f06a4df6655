"""The store in one SQLite file: survives the process, needs no other program, serves one server.

    store.py     the store as the manager has it: asynchronous, and the news of this process
    worker.py    the thread that owns the connection: what waits together is committed together
    engine.py    what a group of calls does to the file, and what of it is in memory
    streams.py   open streams in memory, and the table of all
    journal.py   chunks that are not in a page yet
    pages.py     chunks in pages: their encoding and their table
    room.py      deleting in bounded steps, and the cap on the file
    schema.py    the tables, their versions, and whose file this is
    failures.py  what SQLite's errors mean

A chunk is written twice. First into the journal, a table that has one row a commit, for whatever streams; then, when
256 chunks or 32 KiB of one stream have come together, or it ends, into a page of that stream. With a row for each
chunk in the order of streams, a thousand streams that write now and then touch a thousand leaves of the tree, and
each costs a page of the write-ahead log.
"""

from patinox.stores.sqlite.store import SqliteStore as SqliteStore
