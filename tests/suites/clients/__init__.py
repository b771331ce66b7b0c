"""Programs of the clients and frameworks that Redis has, with kill -9 of the server in the middle."""
