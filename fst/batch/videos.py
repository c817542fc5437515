"""Many videos changed, one after the other; a failure does not stop the rest."""

from collections.abc import Callable, Iterator, Sequence

from fst.batch.failures import failure
from fst.batch.files import Job, Outcome
from fst.video.video import VideoReport


def change_videos(jobs: Sequence[Job], make: Callable[[Job], VideoReport]) -> Iterator[Outcome]:
    """Make videos one after the other; yield the outcome of each, with frames and their rate."""
    for job in jobs:
        try:
            report = make(job)
        except Exception as error:
            yield failure(job, error)
        else:
            rate = f"{report.frames} frames, {report.frames / report.seconds:.1f} fps"
            yield Outcome(job, notes=(rate, *report.notes))
