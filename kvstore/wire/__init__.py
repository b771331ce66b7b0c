"""Three grammars on one port: bytes in, requests out; replies in, bytes out. No I/O, nothing of commands or stores."""
