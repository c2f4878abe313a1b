"""What clients and operators call: thin servicers that check a request, ask the runtime and say what went wrong."""
