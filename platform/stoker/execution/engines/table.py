"""The engines by name."""

from collections.abc import Callable

from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, Engine
from stoker.execution.engines.torch_engine import TorchEngine
from stoker.execution.heartbeat import Heartbeat

ENGINES: dict[str, Callable[[Assignment, Heartbeat, DataCache], Engine]] = {"torch": TorchEngine}
