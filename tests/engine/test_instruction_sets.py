"""What the engine finds of instruction sets, beside what the operating system says."""

import pytest

from ruvllm import _native
from tests.support.machine_isas import machine_isas


def test_no_instruction_set_of_this_machine_is_forgotten() -> None:
    expected = machine_isas()
    if expected is None:
        pytest.skip("this system does not say what its processor has")
    assert tuple(_native.System.detect().available_isas) == expected
