"""The ports in memory: a log that follows Kafka's rules, a broker that follows MQTT's and a store, with faults drawn by a seed.

They ship as classes rather than mocks, so that the services' own code runs against them; ``tests/contract`` holds the log and the broker
to the same cases as the real ones, ``tests/simulation`` runs the whole platform on them.
"""

from streaming.simulated.broker import SimulatedBroker
from streaming.simulated.faults import Crash, Faults
from streaming.simulated.kafka import SimulatedKafka
from streaming.simulated.log import SimulatedLog
from streaming.simulated.model import SimulatedModelServer, as_declared
from streaming.simulated.store import SimulatedStore

__all__ = ["Crash", "Faults", "SimulatedBroker", "SimulatedKafka", "SimulatedLog", "SimulatedModelServer", "SimulatedStore", "as_declared"]
