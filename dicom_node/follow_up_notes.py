"""What a follow-up notes, where others go by it: who compares and who writes results do not import each other."""

from __future__ import annotations

#: The whole note where earlier studies were looked for and none was there. Kept in report.json: it must stay the same.
NO_EARLIER = "no earlier study of this patient has been analysed here"
#: The flag of a report whose comparison failed.
FAILED = "follow-up-failed"
