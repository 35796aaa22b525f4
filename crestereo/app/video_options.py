"""What the video scripts can be told beyond `options`: how their sources belong together."""

from __future__ import annotations

from dataclasses import dataclass, field

from crestereo.app.options import AUTO, OFF, VideoSettings, check_choice, flag, number
from crestereo.errors import UsageError

LAYOUTS = (
    "auto",
    *(f"{form}_{size}" for form in ("sbs", "tb") for size in ("full", "half")),
    *(f"{form}_{size}_rl" for form in ("sbs", "tb") for size in ("full", "half")),
)
"""As `crestereo.layouts` knows them; that module would delay the first prompt."""


@dataclass(frozen=True, kw_only=True)
class TwoVideosSettings(VideoSettings):
    """Hold the settings of a left and a right video."""

    sync: str = field(
        default="auto",
        metadata=flag(
            "--sync-offset",
            "frames that the right video is behind, off, or auto: found from the motion",
            metavar="FRAMES",
            type=str,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.sync_frames  # looks at the value

    @property
    def sync_frames(self) -> float | None:
        """Return the frames that the right video is behind, None where it is auto or off."""
        if self.sync in (AUTO, OFF):
            return None
        try:
            return number(str(self.sync))
        except UsageError as exc:
            raise UsageError(
                f"sync must be auto, off or a number of frames, not {self.sync!r}"
            ) from exc


@dataclass(frozen=True, kw_only=True)
class UnifiedVideoSettings(VideoSettings):
    """Hold the settings of a video that holds both eyes."""

    swap: bool | None = field(
        metadata=flag("--swap", "the left eye is on the right; none: ask", pair=True)
    )
    layout: str = field(
        default="auto",
        metadata=flag("--layout", "how the eyes share a frame", choices=LAYOUTS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("layout", self.layout, LAYOUTS)
