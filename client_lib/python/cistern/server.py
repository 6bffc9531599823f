"""python -m cistern.server [FLAGS]: a node, with the server's own flags (--help lists them)."""

from ._programs import cistern_server

if __name__ == "__main__":
    cistern_server()
