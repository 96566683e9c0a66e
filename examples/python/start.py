"""Starts a saga and waits for its end: a client of the orchestrator's admin API (docs/wire.md, section 5)."""
from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from typing import Any

from google.protobuf import json_format

from saga_barrier import Code
from saga_schema import Schema
from saga_sp import Client

START = "saga.v1.OrchestratorService/StartSaga"
LATER = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)  # the same request, with the same key, a little later


class Refused(Exception):
    """The orchestrator said no."""

    def __init__(self, status: Any) -> None:
        super().__init__(f"{Code(status.code).name} {status.reason}: {status.message}")
        self.status = status


class Starter:
    """Starts sagas. The same key starts one saga (S10), so whatever happens on the way the request is sent again."""

    def __init__(self, url: str, schema: Schema) -> None:
        self._url, self._schema = url, schema
        self._contexts = dict(schema.contexts())

    def start(self, definition: str, key: str, fields: dict[str, Any], wait_seconds: float = 0.0, patience: float = 10.0) -> Any:
        """Gives the StartSagaResponse. Raises Refused; TimeoutError when nobody answers for so long."""
        context = json_format.ParseDict(fields, self._contexts[definition]())
        request = self._schema.message("saga.v1.StartSagaRequest")(
            definition=definition, key=key, input=context.SerializeToString(), wait_ms=int(wait_seconds * 1000))
        end = time.monotonic() + patience
        while True:
            try:
                status, payload = self._call(START, request, wait_seconds + 5.0)
                if status.code == Code.OK:
                    return self._schema.message("saga.v1.StartSagaResponse").FromString(payload)
                if status.code not in LATER:
                    raise Refused(status)
                problem: object = status.message
            except (OSError, ConnectionError) as error:  # it may have been started: the key makes asking again safe
                problem = error
            if time.monotonic() > end:
                raise TimeoutError(f"{self._url}: {problem}")
            time.sleep(0.2)

    def _call(self, method: str, request: Any, timeout: float) -> tuple[Any, bytes]:
        """One ordinary request; gives status and payload."""
        command = self._schema.message("saga.v1.Command")(method=method, payload=request.SerializeToString())
        batch = self._schema.message("saga.v1.CommandBatch")(commands=[command])
        with Client(self._url) as client:
            answer = client.request(batch.SerializeToString(), timeout)
        replies = self._schema.message("saga.v1.ReplyBatch").FromString(answer).replies
        if len(replies) != 1:
            raise ConnectionError(f"{len(replies)} replies to one command")
        return replies[0].status, replies[0].payload


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="starts a saga", epilog="""example: start.py --schema loyalty.binpb purchase
        --data '{"purchase_id": 1, "customer_id": 7, "total_cents": 1250}' --wait 10. Exit status: 0 it was started and, with
        --wait, has COMPLETED; 1 it ended otherwise or has not ended; 2 usage; 64 + code when the orchestrator refused.""")
    parser.add_argument("definition", help="name of the saga")
    parser.add_argument("--schema", required=True, metavar="FILE", help="descriptor set that declares it")
    parser.add_argument("--orchestrator", default="tcp://127.0.0.1:7300", metavar="URL", help="[%(default)s]")
    parser.add_argument("--key", help="the same key starts one saga [a new one]")
    parser.add_argument("--data", default="{}", metavar="JSON", help="input fields [%(default)s]")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait for the end, at most 60 [0]")
    options = parser.parse_args(arguments)
    schema = Schema.load(options.schema)
    if options.definition not in dict(schema.contexts()):
        parser.error(f"{options.schema} declares no saga {options.definition}")
    try:
        starter = Starter(options.orchestrator, schema)
        response = starter.start(options.definition, options.key or str(uuid.uuid4()), json.loads(options.data), options.wait)
    except (ValueError, json_format.ParseError) as error:
        parser.error(str(error))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 64 + refused.status.code
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 64 + Code.UNAVAILABLE
    state = type(response).DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[response.state].name
    state = state.removeprefix("SAGA_STATE_")
    print(json.dumps({"saga_id": str(uuid.UUID(bytes=response.saga_id)), "existing": response.existing, "state": state}))
    return 0 if options.wait == 0 or state == "COMPLETED" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
