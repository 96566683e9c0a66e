"""A schema as protoc writes it (--descriptor_set_out --include_imports): messages, methods, and what their options say.

One file serves three ends: it gives this program its message classes, tells the methods of its service, and is what the
participant shows by reflection."""
from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Iterator, Type

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message


@dataclasses.dataclass(frozen=True)
class Method:
    """One method of a service."""

    full_name: str  # "package.Service/Method"
    request: Type[Message]
    response: Type[Message]
    read_only: bool  # idempotency_level = NO_SIDE_EFFECTS


class Schema:
    """The files of a descriptor set."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._files = descriptor_pb2.FileDescriptorSet.FromString(data)
        self._pool = descriptor_pool.DescriptorPool()
        for file in self._files.file:  # imports come before those that import them
            self._pool.AddSerializedFile(file.SerializeToString())
        self._factory = None
        if not hasattr(message_factory, "GetMessageClass"):  # protobuf before 4.22
            self._factory = message_factory.MessageFactory(self._pool)

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Schema":
        """Reads a file."""
        return cls(pathlib.Path(path).read_bytes())

    def message(self, name: str) -> Type[Message]:
        """The class of a message, by its full name."""
        return self._class_of(self._pool.FindMessageTypeByName(name))

    def methods(self, service: str) -> dict[str, Method]:
        """The methods of a service, by their short names."""
        return {
            method.name: Method(
                full_name=f"{service}/{method.name}",
                request=self._class_of(method.input_type),
                response=self._class_of(method.output_type),
                read_only=method.GetOptions().idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
            )
            for method in self._pool.FindServiceByName(service).methods
        }

    def topics(self, service: str) -> tuple[str, str]:
        """The command topic and the reply topic that a service declares; empty: none."""
        options = self._option(self._pool.FindServiceByName(service), "ServiceOptions", "saga.v1.topics")
        return options.command, options.reply

    def contexts(self) -> Iterator[tuple[str, Type[Message]]]:
        """The sagas of the set: (name, class of the context)."""
        for file in self._files.file:
            for message in file.message_type:
                descriptor = self._pool.FindMessageTypeByName(f"{file.package}.{message.name}".lstrip("."))
                definition = self._option(descriptor, "MessageOptions", "saga.v1.definition")
                if definition.name:
                    yield definition.name, self._class_of(descriptor)

    def _class_of(self, descriptor: Any) -> Type[Message]:
        if self._factory is not None:
            return self._factory.GetPrototype(descriptor)
        return message_factory.GetMessageClass(descriptor)

    def _option(self, descriptor: Any, kind: str, name: str) -> Any:
        # Options are known to descriptor_pb2 without extensions; the same bytes are read again by this set's own class.
        options = self.message(f"google.protobuf.{kind}").FromString(descriptor.GetOptions().SerializeToString())
        return options.Extensions[self._pool.FindExtensionByName(name)]
