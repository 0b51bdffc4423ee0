"""Rules between keys, and between the file and this host: transport, encryption, timers, links, files.

Source: reference config sections 3.2, 4, 13 and 14. What contradicts itself in the quorum section is judged by the quorum engine
at its start, which ends it with exit status 20.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address

from corosyncd.config.document import Document
from corosyncd.config.problems import STATUS_LOGGING, STATUS_STATE_DIRECTORY, Place
from corosyncd.config.reader import quoted
from corosyncd.config.schema import AVAILABLE_TRANSPORTS
from corosyncd.totem import timeouts

# Beside the timers, what else the executive wants to know as numbers before it has a map.
SETTINGS = (*timeouts.DEFAULTS, "token_retransmit", "hold", "consensus", "config_version", "ip_dscp")
FLAGS = {"block_unlisted_ips": "yes", "cancel_token_hold_on_retransmit": "no", "fast_failover": "yes"}
"""Flags that are words in the file and numbers in force, with their defaults."""

# Words in the messages of ``timeouts.derive``, and the key that each is about; longer ones first.
_TIMER_KEYS = (
    ("max_network_delay", "max_network_delay"),
    ("token retransmit timeout", "token_retransmit"),
    ("token_retransmits_before_loss_const", "token"),
    ("token hold timeout", "hold"),
    ("token warning", "token_warning"),
    ("token timeout", "token"),
    ("consensus timeout", "consensus"),
    ("join timeout", "join"),
    ("merge timeout", "merge"),
    ("downcheck timeout", "downcheck"),
    ("netmtu", "netmtu"),
    ("window_size", "window_size"),
)
_ADVICE = {
    "token": "raise token, or leave it out for the default of 3000 ms",
}

WATCHDOG_SECONDS = (2, 120)


def totem_settings(document: Document) -> dict[str, int]:
    """The totem section's numbers as ``timeouts.derive`` takes them; what the file lacks is absent, flags are 0 or 1."""
    reader = document.reader
    settings = {
        name: reader.number(f"totem.{name}") for name in SETTINGS if f"totem.{name}" in reader.values and name not in FLAGS
    }
    settings |= {name: int(reader.text(f"totem.{name}", default) == "yes") for name, default in FLAGS.items()}
    return settings


def check(document: Document, node_count: int) -> None:
    """Every rule that needs no look at the host."""
    _check_totem(document)
    _check_encryption(document)
    check_timers(document, totem_settings(document), node_count)
    _check_links(document)
    _warn(document)


def _error(document: Document, key: str, message: str, allowed: str = "") -> None:
    place = document.reader.place(key)
    document.reader.problems.error(place, key, message, found=str(_found(document, key)), allowed=allowed)


def _found(document: Document, key: str) -> object:
    return document.reader.values[key].python() if key in document.reader.values else "nothing"


def _failed(document: Document, key: str) -> bool:
    """Whether an error of this key is known already: then what follows from it is not reported."""
    return any(problem.key == key for problem in document.reader.problems.errors)


def _check_totem(document: Document) -> None:
    reader = document.reader
    if "totem.version" not in reader.values and not _failed(document, "totem.version"):
        _error(
            document, "totem.version", "the version of the configuration is missing; add 'version: 2' to the totem section", "2"
        )
    transport = reader.text("totem.transport", "knet")
    if transport not in AVAILABLE_TRANSPORTS and not _failed(document, "totem.transport"):
        named = f"the transport {quoted(transport)}" if "totem.transport" in reader.values else "knet, the default transport,"
        message = f"{named} is not available in this version; write 'transport: udpu' in the totem section, on every node"
        _error(document, "totem.transport", message, ", ".join(AVAILABLE_TRANSPORTS))


def _check_encryption(document: Document) -> None:
    """Packets are encrypted and signed by knet only; a setting that would silently do nothing is refused."""
    wants = {
        "totem.crypto_cipher": document.reader.text("totem.crypto_cipher", "none") != "none",
        "totem.crypto_hash": document.reader.text("totem.crypto_hash", "none") != "none",
        "totem.secauth": document.reader.text("totem.secauth") == "on" and "totem.crypto_cipher" not in document.reader.values,
    }
    for key, wanted in wants.items():
        if wanted:
            _error(document, key, "crypto_cipher and crypto_hash work with the knet transport only; remove the setting", "none")


def check_timers(document: Document, settings: Mapping[str, int], node_count: int) -> None:
    """Derive the ring's parameters; each value that is refused is reported once and replaced by its default."""
    remaining = dict(settings)
    for _ in range(len(remaining) + 1):
        try:
            timeouts.derive(remaining, node_count)
            return
        except ValueError as error:
            text = str(error)
        name = next((key for words, key in _TIMER_KEYS if words in text), "token")
        if "Not appropriate" in text and name not in remaining:
            name = "token_retransmits_before_loss_const"
        advice = _ADVICE.get(name, f"correct {name}, or leave it out for the default")
        _error(document, f"totem.{name}", f"{text.rstrip('.')}; {advice}")
        if remaining.pop(name, None) is None:
            return


def _check_links(document: Document) -> None:
    """Keys of ``totem.interface`` that a transport does not have, and addresses that are none."""
    reader = document.reader
    udpu = reader.text("totem.transport") == "udpu"
    for link in sorted(document.links):
        prefix = f"totem.interface.{link}."
        if udpu and reader.number(prefix + "knet_link_priority", 1) != 1:
            _error(
                document,
                prefix + "knet_link_priority",
                "links have priorities with the knet transport only; remove this key",
                "1",
            )
        if udpu and reader.number(prefix + "ttl", 1) != 1:
            _error(document, prefix + "ttl", "only multicast transports have a ttl; remove this key", "1")
        address = reader.text(prefix + "mcastaddr")
        if address and _multicast(address) is not True:
            message = f"{quoted(address)} is not a multicast address; udpu needs none, remove this key"
            _error(document, prefix + "mcastaddr", message, "a numeric multicast address")
        address = reader.text(prefix + "bindnetaddr")
        if address and _multicast(address) is None:
            message = f"{quoted(address)} is not a numeric address; remove this key, the nodelist has the addresses"
            _error(document, prefix + "bindnetaddr", message, "a numeric address")


def _multicast(address: str) -> bool | None:
    """Whether an address is a multicast one; None where it is no address."""
    try:
        return ip_address(address).is_multicast
    except ValueError:
        return None


def _warn(document: Document) -> None:
    """Settings that are accepted and do not do what they seem to."""
    reader = document.reader
    warn = reader.problems.warning
    for link in sorted(document.links):
        key = f"totem.interface.{link}.bindnetaddr"
        if key in reader.values and document.nodes:
            warn(reader.places[key], key, "the nodelist's address is used instead; remove bindnetaddr", found=reader.text(key))
    if document.members is not None:
        message = "members are taken from the nodelist and this section is ignored; remove it"
        warn(document.members, "totem.interface.member", message)
    low, high = WATCHDOG_SECONDS
    seconds = reader.number("resources.watchdog_timeout", low)
    if not low <= seconds <= high:
        key = "resources.watchdog_timeout"
        warn(reader.places[key], key, f"{seconds} is outside {low} to {high} seconds; 6 is used", found=str(seconds))
    if "nozzle.name" in reader.values:
        warn(reader.places["nozzle.name"], "nozzle.name", "a nozzle device needs the knet transport; the section is ignored")
    on = ("yes", "on")
    if reader.text("logging.to_logfile") in on and not reader.text("logging.logfile"):
        warn(
            reader.places["logging.to_logfile"],
            "logging.to_logfile",
            "there is no logging.logfile, so nothing is written to a file",
        )


def check_files(document: Document, state_directory: str) -> None:
    """What the daemon must be able to open on this host: its state directory and the log files."""
    reader = document.reader
    reason = _directory_fault(state_directory)
    if reason:
        place = reader.place("system.state_dir")
        message = f"the state directory {state_directory} cannot be used: {reason}; create it, or name another"
        reader.problems.error(place, "system.state_dir", message, found=state_directory, status=STATUS_STATE_DIRECTORY)
    directory = reader.text("system.log_dir")
    for key, place in list(reader.places.items()):
        if key.startswith("logging.") and key.endswith(".logfile") and not key.startswith("logging.logging_daemon."):
            path = os.path.join(directory, reader.text(key))
            reason = _log_file_fault(path)
            if reason:
                _log_error(document, place, key, path, reason)


def _log_error(document: Document, place: Place, key: str, path: str, reason: str) -> None:
    message = f"the log file {path} cannot be opened: {reason}; create its directory, or name another file"
    document.reader.problems.error(place, key, message, found=path, allowed="a file that can be written", status=STATUS_LOGGING)


def _directory_fault(path: str) -> str:
    """Why a directory cannot be worked in; "" where it can."""
    if not os.path.isdir(path):
        return "it is not a directory" if os.path.lexists(path) else "it does not exist"
    return "" if os.access(path, os.W_OK | os.X_OK) else "it is not writable for this user"


def _log_file_fault(path: str) -> str:
    """Why a log file cannot be appended to; "" where it can. Nothing is created."""
    if not path:
        return "it has no name"
    if os.path.isdir(path):
        return "it is a directory"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else "it is not writable for this user"
    return _directory_fault(os.path.dirname(path) or ".").replace("it ", "its directory ", 1)
