"""A report in a dozen plain lines, for the terminal."""

from __future__ import annotations

from pipeline.report import RESEARCH_NOTICE, Finding, Measurement, Report, Skipped


def summary_lines(report: Report) -> list[str]:
    """Findings, volumes, diameters, what was skipped and flagged, seconds and memory by stage."""
    lines = [f"roles: {', '.join(report.roles)}; reference {report.reference_role}"]
    for name, part in (("detection", report.detection), ("tumour type", report.tumour_type)):
        if isinstance(part, Finding):
            lines.append(
                f"{name}: {part.value}, probability {part.probability:.2f} ({part.model.name} {part.model.version})"
            )
    if not isinstance(report.measurements, Skipped):
        totals = [m for m in report.measurements if m.lesion is None]
        lines += [f"{m.subject} {m.quantity}: {m.value:.1f} {m.unit}{_interval(m)}" for m in totals]
        lines += [f"lesion {n.number}: {n.volume_ml:.1f} mL" for n in report.lesions]
    lines += [f"chosen for {c.stage}: {c.model} {c.version}: {c.reason}" for c in report.choices]
    lines += [f"skipped {s.stage}: {s.code}: {s.reason}" for s in report.skipped]
    lines += [f"flag {f.code}: {f.text}" for f in report.flags]
    lines += [f"{t.stage}: {t.seconds:.1f} s, peak memory {t.peak_memory_mb:.0f} MB" for t in report.timings]
    lines.append(RESEARCH_NOTICE)
    return lines


def _interval(measurement: Measurement) -> str:
    if measurement.low is None:
        return ""
    return f" ({measurement.low:.1f} to {measurement.high:.1f})"
