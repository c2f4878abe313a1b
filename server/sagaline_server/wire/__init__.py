"""Between protobuf and the core's plain data. No other package below `api` and `dispatch` knows protobuf."""
