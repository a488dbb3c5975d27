"""Flags of the samplers that have settings of their own, as llama.cpp names them."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from ruvllm.cli.command import flag

__all__ = ["SamplerOptions"]


def _flag(name: str, **settings: Any) -> Any:
    return flag(name, rich_help_panel="More samplers", **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerOptions:
    """Samplers that are off unless their first flag is given."""

    typical_p: Annotated[
        float | None,
        _flag("--typical-p", help="Only tokens about as surprising as expected.", min=0, max=1),
    ] = None
    top_n_sigma: Annotated[
        float | None,
        _flag("--top-n-sigma", help="Only logits so many standard deviations from the best.", max=100),
    ] = None
    dry_multiplier: Annotated[
        float | None,
        _flag("--dry-multiplier", help="DRY: holds repetitions back; 0.8 is usual.", min=0, max=100),
    ] = None
    dry_base: Annotated[
        float | None, _flag("--dry-base", help="By what each further token costs more; 1.75.", min=1, max=100)
    ] = None
    dry_allowed_length: Annotated[
        int | None, _flag("--dry-allowed-length", help="Shorter repetitions cost nothing; 2.", min=1)
    ] = None
    dry_penalty_last_n: Annotated[
        int | None, _flag("--dry-penalty-last-n", help="So many of the last tokens; -1 is all.", min=-1)
    ] = None
    dry_sequence_breakers: Annotated[
        list[str] | None,
        _flag("--dry-sequence-breaker", help="No repetition goes on across it; may be given again."),
    ] = None
    xtc_probability: Annotated[
        float | None,
        _flag("--xtc-probability", help="XTC: how often the likeliest are left out.", min=0, max=1),
    ] = None
    xtc_threshold: Annotated[
        float | None, _flag("--xtc-threshold", help="What is likely enough for that; 0.1.", min=0, max=1)
    ] = None
    dynatemp_range: Annotated[
        float | None,
        _flag("--dynatemp-range", help="The temperature goes so far up and down.", min=0, max=100),
    ] = None
    dynatemp_exponent: Annotated[
        float | None, _flag("--dynatemp-exponent", help="Above 1 it stays low for longer; 1.", max=100)
    ] = None
    mirostat: Annotated[
        int | None, _flag("--mirostat", help="2 makes answers as surprising as is asked for.", min=0, max=2)
    ] = None
    mirostat_tau: Annotated[
        float | None, _flag("--mirostat-tau", help="Bits of surprise a token; 5.", min=0, max=100)
    ] = None
    mirostat_eta: Annotated[
        float | None, _flag("--mirostat-eta", help="How fast that is followed; 0.1.", min=0, max=1)
    ] = None

    def sampler_params(self) -> dict[str, Any]:
        """The fields of the library's parameters that these come to."""
        from ruvllm.samplers import under_llama_names

        names = [one.name for one in fields(SamplerOptions)]
        return under_llama_names({name: getattr(self, name) for name in names})
