"""The events of agent frameworks as neutral events, told by their wire types: nothing of theirs is imported.

telling.py       numbers messages and blocks, and closes what is open
pydantic_ai.py   pydantic-ai: `agent.run_stream_events(…)`, or what an event stream handler gets
langchain.py     LangChain and LangGraph: `astream_events(version="v2")`, `astream(stream_mode="messages")`
"""
