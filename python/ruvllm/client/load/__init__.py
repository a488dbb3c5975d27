"""A server under load: what is asked, when, and how long the answers take."""

from ruvllm.client.load.report import LATENCIES, Distribution, Report, read_service_levels
from ruvllm.client.load.runner import ClosedLoop, LoadRun, OpenLoop, Target, run_load
from ruvllm.client.load.words import WordSupply
from ruvllm.client.load.workload import Workload, arrival_seconds

__all__ = [
    "LATENCIES",
    "ClosedLoop",
    "Distribution",
    "LoadRun",
    "OpenLoop",
    "Report",
    "Target",
    "WordSupply",
    "Workload",
    "arrival_seconds",
    "read_service_levels",
    "run_load",
]
