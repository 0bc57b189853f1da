"""HTTPS servers: certificates of our own that renew themselves, and uvicorn as this project starts and stops it."""
