"""The doors: WebSocket, REST and static files on one port."""
