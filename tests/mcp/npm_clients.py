"""The official MCP clients from npm: the inspector, of which the command line is used, and the TypeScript SDK."""
import functools

from npm_cache import NpmCache

CLIENTS = NpmCache("mcp-clients", {"@modelcontextprotocol/inspector": "0.22.0", "@modelcontextprotocol/sdk": "1.32.2"}, "MCP clients")


def inspector():
    return CLIENTS.program("mcp-inspector")


def path():
    """The folder that a script's packages are found from."""
    return CLIENTS.path


@functools.cache
def missing():
    return CLIENTS.missing()
