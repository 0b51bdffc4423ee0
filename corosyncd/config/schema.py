"""Every section and key of the configuration file: a table of types, ranges and choices.

A model's fields are the known keys, its ``sections`` the known subsections. Defaults are not set here: a key that the file
lacks is absent from the map, as with a stock daemon. Source: corosync.conf(5), reference config sections 3 to 11.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from coroipc.map_values import ValueType as T
from corosyncd.config.kinds import Choice, Dscp, Kind, Text, Whole
from corosyncd.keyspace.values import Value

AVAILABLE_TRANSPORTS = ("udpu",)
"""Transports that this daemon can run; the file may name others, which is an error of its own."""

U8 = Annotated[Value | None, Whole(T.UINT8)]
U16 = Annotated[Value | None, Whole(T.UINT16)]
I32 = Annotated[Value | None, Whole(T.INT32)]
U32 = Annotated[Value | None, Whole(T.UINT32)]
U64 = Annotated[Value | None, Whole(T.UINT64)]
Flag = Annotated[Value | None, Whole(T.UINT8, flag=True)]
String = Annotated[Value | None, Text()]
YesNo = Annotated[Value | None, Choice(("yes", "no"), booleans=("yes", "no"))]
OnOff = Annotated[Value | None, Choice(("on", "off"), booleans=("on", "off"))]
Switch = Annotated[Value | None, Choice(("yes", "on", "no", "off"), booleans=("yes", "no"))]
Directory = Annotated[Value | None, Text(maximum=4000, pattern="/[^\0]*", described="an absolute path")]

PRIORITIES = ("alert", "crit", "debug", "emerg", "err", "error", "info", "notice", "warning")
Priority = Annotated[Value | None, Choice(PRIORITIES, any_case=True)]

FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
COMPRESSION_MODELS = ("zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd")


class Section(BaseModel):
    """Base of the sections: unknown keys are allowed here and judged by the reader."""

    model_config = ConfigDict(extra="allow", frozen=True)

    sections: ClassVar[dict[str, type[Section]]] = {}
    """Known subsections that need no special treatment."""
    lists: ClassVar[tuple[str, ...]] = ()
    """Known subsections that the reader treats by itself."""
    obsolete: ClassVar[dict[str, str]] = {}
    """Keys that are accepted and do nothing, with what to know about them."""
    free: ClassVar[bool] = False
    """Subsections of any name belong to other programs and are stored without a warning."""

    @classmethod
    def kinds(cls) -> dict[str, Kind]:
        """The kind of every known key."""
        found = {}
        for name, field in cls.model_fields.items():
            found[field.alias or name] = next(item for item in field.metadata if isinstance(item, Kind))
        return found


_OLD = "it belongs to Corosync 1 and 2 and has no effect; remove it"


class Totem(Section):
    """``totem``: the protocol, its timers and its transport."""

    lists: ClassVar[tuple[str, ...]] = ("interface",)
    obsolete: ClassVar[dict[str, str]] = {
        "nodeid": "the node id is taken from the nodelist; remove it",
        "threads": "it has no effect; remove it",
        "vsftype": _OLD,
        "rrp_mode": _OLD,
        "rrp_token_expired_timeout": _OLD,
        "rrp_problem_count_timeout": _OLD,
        "rrp_problem_count_threshold": _OLD,
        "rrp_problem_count_mcast_threshold": _OLD,
        "rrp_autorecovery_check_timeout": _OLD,
    }

    version: Annotated[Value | None, Whole(T.UINT32, 2, 2)] = None
    cluster_name: String = None
    config_version: U64 = None
    transport: Annotated[Value | None, Choice(("knet", "udpu", "udp"))] = None
    link_mode: Annotated[Value | None, Choice(("passive", "active", "rr"))] = None
    ip_version: Annotated[Value | None, Choice(("ipv4", "ipv6", "ipv4-6", "ipv6-4"))] = None
    ip_dscp: Annotated[Value | None, Dscp()] = None
    netmtu: U32 = None
    knet_mtu: U32 = None
    knet_pmtud_interval: U32 = None
    knet_compression_model: Annotated[Value | None, Choice(COMPRESSION_MODELS)] = None
    knet_compression_threshold: U32 = None
    knet_compression_level: I32 = None
    crypto_model: Annotated[Value | None, Choice(("nss", "openssl", "gcrypt"))] = None
    crypto_cipher: Annotated[Value | None, Choice(("none", "aes256", "aes192", "aes128"))] = None
    crypto_hash: Annotated[Value | None, Choice(("none", "md5", "sha1", "sha256", "sha384", "sha512"))] = None
    secauth: OnOff = None
    keyfile: String = None
    key: String = None
    clear_node_high_bit: YesNo = None
    nodeid: U32 = None
    threads: U32 = None
    token: U32 = None
    token_warning: Annotated[Value | None, Whole(T.UINT32, 0, 100)] = None
    token_coefficient: U32 = None
    token_retransmit: U32 = None
    token_retransmits_before_loss_const: U32 = None
    hold: U32 = None
    join: U32 = None
    send_join: U32 = None
    consensus: U32 = None
    merge: U32 = None
    downcheck: U32 = None
    fail_recv_const: U32 = None
    seqno_unchanged_const: U32 = None
    heartbeat_failures_allowed: U32 = None
    max_network_delay: U32 = None
    window_size: U32 = None
    max_messages: U32 = None
    miss_count_const: U32 = None
    block_unlisted_ips: YesNo = None
    cancel_token_hold_on_retransmit: YesNo = None
    fast_failover: YesNo = None


class Interface(Section):
    """``totem.interface``: one link."""

    lists: ClassVar[tuple[str, ...]] = ("member",)

    linknumber: U8 = None
    knet_link_priority: U8 = None
    knet_ping_interval: U32 = None
    knet_ping_timeout: U32 = None
    knet_ping_precision: U32 = None
    knet_pong_count: U32 = None
    knet_transport: Annotated[Value | None, Choice(("udp", "sctp"))] = None
    mcastport: U16 = None
    bindnetaddr: String = None
    mcastaddr: String = None
    broadcast: YesNo = None
    ttl: U8 = None


class Member(Section):
    """``totem.interface.member``: the node list of old udpu configurations."""

    memberaddr: String = None


class NodeList(Section):
    """``nodelist``."""

    lists: ClassVar[tuple[str, ...]] = ("node",)


class Node(Section):
    """``nodelist.node``: one node of the cluster."""

    ring0_addr: String = None
    ring1_addr: String = None
    ring2_addr: String = None
    ring3_addr: String = None
    ring4_addr: String = None
    ring5_addr: String = None
    ring6_addr: String = None
    ring7_addr: String = None
    nodeid: U32 = None
    name: String = None
    quorum_votes: U32 = None


class Device(Section):
    """``quorum.device``: the quorum device; its model's own sections are for the device's daemon."""

    free: ClassVar[bool] = True

    model: String = None
    votes: U32 = None
    timeout: U32 = None
    sync_timeout: U32 = None
    master_wins: Flag = None


class Quorum(Section):
    """``quorum``: values that contradict each other are judged by the quorum engine at its start."""

    sections: ClassVar[dict[str, type[Section]]] = {"device": Device}

    provider: String = None
    expected_votes: U32 = None
    votes: U32 = None
    two_node: Flag = None
    wait_for_all: Flag = None
    last_man_standing: Flag = None
    last_man_standing_window: U32 = None
    auto_tie_breaker: Flag = None
    auto_tie_breaker_node: String = None
    allow_downscale: Flag = None
    expected_votes_tracking: Flag = None
    leaving_timeout: U32 = None


class Subsystem(Section):
    """``logging.logger_subsys``, and the keys that the logging section has for all subsystems."""

    obsolete: ClassVar[dict[str, str]] = {
        "to_file": "it is an old name; write to_logfile",
        "syslog_level": "it is an old name; write syslog_priority",
    }

    to_stderr: Switch = None
    to_syslog: Switch = None
    to_logfile: Switch = None
    to_file: Switch = None
    logfile: Annotated[Value | None, Text(maximum=4000)] = None
    syslog_facility: Annotated[Value | None, Choice(FACILITIES)] = None
    syslog_priority: Priority = None
    syslog_level: Priority = None
    logfile_priority: Priority = None
    debug: Annotated[Value | None, Choice(("on", "off", "trace"), booleans=("on", "off"))] = None


SUBSYSTEM = Text(maximum=63, pattern="[A-Za-z0-9._/-]+", described="a subsystem's name, up to 63 letters")


class LoggerSubsystem(Subsystem):
    """``logging.logger_subsys``: one subsystem's own values."""

    subsys: Annotated[Value | None, SUBSYSTEM] = None


class LoggingDaemon(LoggerSubsystem):
    """``logging.logging_daemon``: an old way to write the same for several daemons."""

    name: String = None


class Logging(Subsystem):
    """``logging``."""

    lists: ClassVar[tuple[str, ...]] = ("logger_subsys", "logging_daemon")

    timestamp: Annotated[Value | None, Choice(("on", "off", "hires"), booleans=("on", "off"))] = None
    fileline: OnOff = None
    function_name: OnOff = None
    blackbox: OnOff = None
    format: Annotated[Value | None, Choice(("stock", "json"))] = None


INSTANCE = Text(pattern="[A-Za-z0-9._-]{1,32}", described="1 to 32 letters, digits and . _ -")


class System(Section):
    """``system``: how the daemon's processes run on this host. From ``instance`` on, the keys are this daemon's own."""

    qb_ipc_type: Annotated[Value | None, Choice(("native", "shm", "socket"))] = None
    sched_rr: Annotated[Value | None, Choice(("auto", "yes", "no"), booleans=("yes", "no"))] = None
    priority: Annotated[Value | None, Text(pattern="[+-]?[0-9]{1,4}|max|min", described="a whole number, max or min")] = None
    move_to_root_cgroup: Annotated[Value | None, Choice(("yes", "no", "auto"), booleans=("yes", "no"))] = None
    allow_knet_handle_fallback: YesNo = None
    state_dir: Directory = None
    instance: Annotated[Value | None, INSTANCE] = None
    run_dir: Directory = None
    log_dir: Directory = None
    socket_dir: Directory = None
    link_semaphores: Annotated[Value | None, Choice(("posix", "sysv"))] = None
    client_queue_limit: Annotated[Value | None, Whole(T.UINT32, 1 << 20)] = None
    user_connection_limit: Annotated[Value | None, Whole(T.UINT32, 1)] = None
    local_node: Annotated[Value | None, Text(maximum=255)] = None
    strict: YesNo = None


class MemoryUsed(Section):
    """``resources.system.memory_used``."""

    max: String = None
    recovery: String = None
    poll_period: U64 = None


class Load(Section):
    """``resources.system.load_15min``: the period is a text there, as stock stores it."""

    max: String = None
    recovery: String = None
    poll_period: String = None


class SystemResources(Section):
    """``resources.system``."""

    sections: ClassVar[dict[str, type[Section]]] = {"memory_used": MemoryUsed, "load_15min": Load}


class Resources(Section):
    """``resources``: the watchdog and what it watches."""

    sections: ClassVar[dict[str, type[Section]]] = {"system": SystemResources}

    watchdog_device: String = None
    watchdog_timeout: U32 = None


class Nozzle(Section):
    """``nozzle``: a network device through knet."""

    name: String = None
    ipaddr: String = None
    ipprefix: String = None
    macaddr: String = None


ENGINE_NAME = Text(pattern="[a-z][a-z0-9_]{0,31}", described="a small letter, then small letters, digits and _")
ENGINE_CLASS = Text(pattern=r"[A-Za-z_][\w.]{0,200}:[A-Za-z_]\w{0,100}", described="module:Class")


class LoadableEngine(Section):
    """One entry of ``engines``: a service engine from a Python module of the user's."""

    name: Annotated[Value | None, ENGINE_NAME] = None
    import_: Annotated[Value | None, ENGINE_CLASS, Field(alias="import")] = None
    id: Annotated[Value | None, Whole(T.UINT8, 8, 63)] = None
    crash_policy: Annotated[Value | None, Choice(("restart", "leave"))] = None


TOP: dict[str, type[Section]] = {
    "totem": Totem,
    "nodelist": NodeList,
    "quorum": Quorum,
    "logging": Logging,
    "system": System,
    "resources": Resources,
    "nozzle": Nozzle,
}
TOP_LISTS = ("uidgid", "engines")
WITHOUT_EFFECT = ("service", "aisexec", "amf", "compatibility", "cfg", "pload", "logger")
"""Sections that stock stores and nothing reads from the file."""
