"""OTLP as it comes from strangers: read within limits, and told in this feature's own words."""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from moonpool.telemetry.model import LogRecord, Signal, Span, Status

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MAX_UNPACKED = 32 << 20  # bytes of a request
MAX_TEXT = 32 << 10  # characters of a log's body
MAX_VALUE = 4 << 10  # characters of an attribute
MAX_NAME = 256  # characters of an attribute's name, a span's, a service's
MAX_ATTRIBUTES = 128
MAX_DEPTH = 32  # of JSON
GZIP = 31  # zlib's word for a gzip header
UNKNOWN = "unknown_service"
STATUSES = {0: Status.UNSET, 1: Status.OK, 2: Status.ERROR}
# Ids are hexadecimal in OTLP's JSON, and base64 in that of protobuf.
IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")  # four numbers each, from 1 on

Export = ExportLogsServiceRequest | ExportTraceServiceRequest | ExportMetricsServiceRequest
MESSAGES: Mapping[Signal, type[Export]] = {
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}


class Unreadable(Exception):
    """Not OTLP, or more than is taken."""


def read(signal: Signal, media_type: str, encoding: str, body: bytes) -> Export:
    """One export request. Unreadable."""
    content = unzipped(body) if encoding == "gzip" else body
    message = MESSAGES[signal]()
    try:
        if media_type == JSON:
            ParseDict(rewritten(json.loads(content)), message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(content)
    except (DecodeError, ParseError, ValueError, RecursionError, TypeError) as error:
        raise Unreadable(str(error)) from error
    return message


def unzipped(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(GZIP)
    try:
        content = unpacker.decompress(body, MAX_UNPACKED)
    except zlib.error as error:
        raise Unreadable(str(error)) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise Unreadable("too large when unpacked, or cut off")
    return content


def rewritten(value: Any, depth: int = 0) -> Any:
    """JSON with ids as protobuf's own reader wants them."""
    if depth > MAX_DEPTH:
        raise Unreadable("nested too deeply")
    if isinstance(value, list):
        return [rewritten(part, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(bytes.fromhex(part)).decode()
        if name in IDS and isinstance(part, str)
        else rewritten(part, depth + 1)
        for name, part in value.items()
    }


def attributed(export: Export, attributes: Mapping[str, str]) -> bytes:
    """The same for another collector, each resource with these attributes beside (instead of) its own."""
    for resource in resources(export):
        kept = [pair for pair in resource.attributes if pair.key not in attributes]
        added = [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in attributes.items()]
        del resource.attributes[:]
        resource.attributes.extend([*kept, *added])
    return bytes(export.SerializeToString())


def resources(export: Export) -> Iterator[Any]:
    if isinstance(export, ExportLogsServiceRequest):
        yield from (part.resource for part in export.resource_logs)
    elif isinstance(export, ExportTraceServiceRequest):
        yield from (part.resource for part in export.resource_spans)
    else:
        yield from (part.resource for part in export.resource_metrics)


def logs_of(export: ExportLogsServiceRequest, now: int) -> Iterator[LogRecord]:
    """``now`` (nanoseconds since 1970) is taken for records that name no moment."""
    for part in export.resource_logs:
        resource = table(part.resource.attributes)
        service = resource.get("service.name") or UNKNOWN
        for scope in part.scope_logs:
            for record in scope.log_records:
                yield LogRecord(
                    at=moment(record.time_unix_nano or record.observed_time_unix_nano, now),
                    body=text(record.body, MAX_TEXT),
                    severity=record.severity_number,
                    severity_text=record.severity_text[:MAX_NAME] or severity_word(record.severity_number),
                    service=service[:MAX_NAME],
                    resource=resource,
                    attributes=table(record.attributes),
                    trace_id=record.trace_id.hex()[:64] or None,
                    span_id=record.span_id.hex()[:64] or None,
                )


def spans_of(export: ExportTraceServiceRequest, now: int) -> Iterator[Span]:
    for part in export.resource_spans:
        service = table(part.resource.attributes).get("service.name") or UNKNOWN
        for scope in part.scope_spans:
            for span in scope.spans:
                begin = moment(span.start_time_unix_nano, now)
                yield Span(
                    trace_id=span.trace_id.hex()[:64],
                    span_id=span.span_id.hex()[:64],
                    parent_id=span.parent_span_id.hex()[:64] or None,
                    name=span.name[:MAX_NAME],
                    at=begin,
                    duration=max(0, moment(span.end_time_unix_nano, begin) - begin),
                    service=service[:MAX_NAME],
                    attributes=table(span.attributes),
                    status=STATUSES.get(span.status.code, Status.UNSET),
                    status_message=span.status.message[:MAX_VALUE],
                )


def moment(nanoseconds: int, otherwise: int) -> int:
    """What a database can hold; none at all is ``otherwise``."""
    return nanoseconds if 0 < nanoseconds < 1 << 62 else otherwise


def severity_word(number: int) -> str:
    return SEVERITIES[(number - 1) // 4] if 1 <= number <= 4 * len(SEVERITIES) else ""


def table(pairs: Iterable[KeyValue]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        if len(found) >= MAX_ATTRIBUTES:
            break
        found[pair.key[:MAX_NAME]] = text(pair.value, MAX_VALUE)
    return found


def text(value: AnyValue, limit: int) -> str:
    """Words as they are, everything else as JSON."""
    if value.WhichOneof("value") == "string_value":
        return value.string_value[:limit]
    return "" if value.WhichOneof("value") is None else json.dumps(plain(value), ensure_ascii=False)[:limit]


def plain(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [plain(part, depth + 1) for part in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
