"""Where a session's time goes: recorded as a trace, added up in tables, drawn as a page."""

from onnxgpu.profile.page import html_page
from onnxgpu.profile.recorder import Recorder, recorded_runs
from onnxgpu.profile.summary import Summary, summarize
from onnxgpu.profile.text import print_summary
from onnxgpu.profile.trace import TraceEvent, read_trace, write_trace

__all__ = ["Recorder", "Summary", "TraceEvent", "html_page", "print_summary", "read_trace", "recorded_runs", "summarize", "write_trace"]
