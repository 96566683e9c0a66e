"""The two trails on Kafka: saga-audit is the orchestrator's log (S9), saga-effects is what the participants did (B8), and
they agree (S13)."""
import collections
import datetime
import hashlib
import uuid

from harness import daemons, schema
from harness.databases import query
from harness.util import until

# ValidateCustomer is declared NO_SIDE_EFFECTS: it has no effect that could be told.
READ_ONLY_STEPS = {"customer"}


def check_cloud_event(record, event_id, source, kind, saga_id):
    """Key and CloudEvents 1.0 binary-mode headers."""
    headers = record.headers
    assert record.key == str(uuid.UUID(bytes=saga_id)).encode(), f"key {record.key} of saga {saga_id.hex()}"
    assert headers.get("ce_id") == event_id, f"ce_id {headers.get('ce_id')}, expected {event_id}"
    assert headers.get("ce_source") == source, headers
    assert headers.get("ce_type") == kind, headers
    assert headers.get("ce_specversion") == "1.0", headers
    assert headers.get("content-type") == "application/protobuf", headers
    datetime.datetime.fromisoformat(headers["ce_time"].replace("Z", "+00:00"))


def hash_of(event):
    copy = schema.AuditEvent()
    copy.CopyFrom(event)
    copy.ClearField("hash")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


class Trail:
    """Both topics, complete: {saga id: [AuditEvent]} and {saga id: [EffectEvent]}."""

    def __init__(self, system, broker, seconds=60):
        self.system, self.broker = system, broker
        self.sagas = {row[0]: row[1:] for row in query(system.sagad, "SELECT id, state, seq, last_hash FROM saga")}
        self.audit_count = query(system.sagad, "SELECT count(*) FROM audit")[0][0]
        self.effect_positions = {
            name: {row[0] for row in query(system.daemons[name], "SELECT position FROM barrier WHERE saga_id NOT NULL")}
            for name in daemons.SERVICES}
        until(self._load, seconds, lambda: f"the trails are not complete: {self.missing}\n{system.logs()}")

    def _load(self):
        self.audit = collections.defaultdict(list)
        self.effects = collections.defaultdict(list)
        seen = self._load_audit()
        positions = self._load_effects()
        self.missing = {"audit": self.audit_count - seen}
        for name, wanted in self.effect_positions.items():
            self.missing[name] = len(wanted - positions[daemons.SERVICES[name]])
        return not any(self.missing.values())

    def _load_audit(self):
        first = {}
        for record in self.broker.read("saga-audit"):
            event = schema.AuditEvent()
            event.ParseFromString(record.value)
            if event.saga_id not in self.sagas:
                continue
            where = (event.saga_id, event.seq)
            if where in first:  # at least once: a copy is a copy
                assert first[where] == record.value, f"two events {event.seq} of saga {event.saga_id.hex()}"
                continue
            first[where] = record.value
            check_cloud_event(record, f"{uuid.UUID(bytes=event.saga_id)}/{event.seq}", "/sagad", "saga.v1.AuditEvent",
                              event.saga_id)
            self.audit[event.saga_id].append(event)
        return len(first)

    def _load_effects(self):
        first = {}
        positions = collections.defaultdict(set)
        for record in self.broker.read("saga-effects"):
            effect = schema.EffectEvent()
            effect.ParseFromString(record.value)
            if effect.event_id in first:
                assert first[effect.event_id] == record.value, f"two effects {effect.event_id}"
                continue
            first[effect.event_id] = record.value
            name = next(name for name, service in daemons.SERVICES.items() if service == effect.service)
            assert effect.event_id == f"{effect.service}/{effect.position}", effect
            check_cloud_event(record, effect.event_id, f"/{name}", "saga.v1.EffectEvent", effect.saga_id)
            positions[effect.service].add(effect.position)
            self.effects[effect.saga_id].append(effect)
        return positions

    def check(self):
        """S9, B8 and S13 of every saga."""
        assert set(self.audit) == set(self.sagas), "sagas without a trail"
        assert set(self.effects) <= set(self.sagas), f"effects of no saga: {set(self.effects) - set(self.sagas)}"
        for saga_id in self.sagas:
            self.check_chain(saga_id)
            self.check_agreement(saga_id)

    def check_chain(self, saga_id):
        """S9: in order, gap-free, hash-chained, and the same bytes as in the orchestrator's store."""
        state, seq, last_hash = self.sagas[saga_id]
        events = self.audit[saga_id]
        assert [event.seq for event in events] == list(range(1, seq + 1)), (
            f"saga {saga_id.hex()}: seqs {[event.seq for event in events]}, expected 1 to {seq}")
        previous = b""
        for event in events:
            assert event.prev_hash == previous, f"saga {saga_id.hex()}: chain breaks at {event.seq}"
            assert event.hash == hash_of(event), f"saga {saga_id.hex()}: hash of {event.seq}"
            previous = event.hash
        assert events[0].kind == schema.KIND_START and events[-1].state == state
        assert previous == last_hash
        stored = [row[0] for row in query(self.system.sagad, "SELECT event FROM audit WHERE saga_id = ? ORDER BY seq",
                                          saga_id)]
        assert stored == [event.SerializeToString(deterministic=True) for event in events]

    def check_agreement(self, saga_id):
        """S13: each effect answers to exactly one decision, and the reverse; S3: at most one effect per step and op."""
        decided = collections.Counter()
        outcomes = {}
        nested = set()  # steps that are sagas of their own: no participant has them
        for event in self.audit[saga_id]:
            for decision in event.decisions:
                if decision.via == schema.VIA_CHILD:
                    nested.add(decision.step)
                decided[(decision.step, decision.op)] = max(decided[(decision.step, decision.op)], decision.attempt)
            if event.kind == schema.KIND_REPLY:
                self._take_outcomes(event, outcomes)
        effects = {}
        for effect in self.effects[saga_id]:
            where = (effect.step, effect.op)
            assert where not in effects, f"saga {saga_id.hex()}: two effects of {where}"
            assert where in decided, f"saga {saga_id.hex()}: effect of {where}, which nobody decided"
            assert effect.attempt <= decided[where], f"saga {saga_id.hex()}: attempt of {where}"
            effects[where] = effect
        for where, (code, reason) in outcomes.items():
            if where[0] in READ_ONLY_STEPS | nested:
                assert where not in effects
                continue
            assert where in effects, f"saga {saga_id.hex()}: {where} was answered {code} {reason}, but has no effect"
            status = effects[where].status
            assert (status.code, status.reason) == (code, reason), f"saga {saga_id.hex()}: {where}: {status}"
        self._check_undone(saga_id, effects)

    @staticmethod
    def _take_outcomes(event, outcomes):
        """What the reply of an event made of its step: only definitive answers are effects (B6)."""
        for transition in event.transitions:
            if transition.step == event.step and transition.to in (schema.SUCCEEDED, schema.REJECTED, schema.UNDONE):
                outcomes[(event.step, event.op)] = (event.status.code, event.status.reason)

    def _check_undone(self, saga_id, effects):
        state = self.sagas[saga_id][0]
        done = {step for (step, op), effect in effects.items()
                if op == schema.OP_CALL and effect.status.code == 0 and step not in READ_ONLY_STEPS}
        undone = {step for (step, op), effect in effects.items()
                  if op == schema.OP_UNDO and effect.status.code == 0 and not effect.empty}
        if state == schema.COMPLETED:
            assert not undone, f"saga {saga_id.hex()}: COMPLETED, yet undone: {undone}"
        if state == schema.COMPENSATED:
            left = done - undone
            assert not left, f"saga {saga_id.hex()}: COMPENSATED, yet left: {left}"
            assert undone - done <= {"order"}, f"saga {saga_id.hex()}: undone without having been done"
