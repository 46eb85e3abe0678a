"""The reference MCP servers and Playwright's from npm."""
import functools

from npm_cache import NpmCache

VERSION = "2026.8.31"
PACKAGES = {f"@modelcontextprotocol/server-{name}": VERSION for name in ("everything", "filesystem", "memory")} | {"@playwright/mcp": "0.0.83"}
SERVERS = NpmCache("mcp-servers", PACKAGES, "MCP servers")


def program(name):
    return SERVERS.program("playwright-mcp" if name == "playwright" else f"mcp-server-{name}")


@functools.cache
def missing():
    return SERVERS.missing()
