"""The real daemons, a real broker, real orders: what end-to-end and chaos tests share. Standard library and
google.protobuf only; /usr/bin/python3."""
