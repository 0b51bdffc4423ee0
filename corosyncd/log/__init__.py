"""Log lines in the stock format or JSON, written by a process of their own."""

from corosyncd.log.producer import Channel, Logger, apply, configure, get_logger, reopen, write

__all__ = ["Channel", "Logger", "apply", "configure", "get_logger", "reopen", "write"]
